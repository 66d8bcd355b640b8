import { type YamlDocument, type YamlMapping, type YamlNode, type YamlScalar, YamlSyntaxError } from '../yaml-tree.ts';
import { keyText, resolvePlain, resolveTagged, type Scalar, scalarValue } from './go-scalar.ts';
import type { DuplicateKeyHandler } from './json-values.ts';
import { Mapping, type Value } from './manifest-value.ts';

const mergeTag = 'tag:yaml.org,2002:merge';
/** UTF-16 code units of strings that aliases may repeat in one document. */
const maxRepeatedText = 16 * 2 ** 20;

/**
 * Gives the nodes of one document the meaning that they have in Kubernetes (go.yaml.in/yaml/v2, then sigs.k8s.io/yaml).
 * The differences to YAML 1.2: see `go-scalar.ts`; a merge key overrides the keys before it; of equal keys the last one counts;
 * tags of lists and mappings mean nothing.
 *
 * @param onDuplicate told of each key that is given twice, with the second one's offset
 * @throws YamlSyntaxError
 */
export function yamlValue({ root, hasAliases }: YamlDocument, onDuplicate: DuplicateKeyHandler): Value {
  return new Decoder(onDuplicate, hasAliases).value(root);
}

class Decoder {
  private readonly onDuplicate: DuplicateKeyHandler;
  private readonly budget: AliasBudget | undefined;

  constructor(onDuplicate: DuplicateKeyHandler, hasAliases: boolean) {
    this.onDuplicate = onDuplicate;
    this.budget = hasAliases ? new AliasBudget() : undefined;
  }

  value(node: YamlNode): Value {
    this.budget?.enter(node);
    const value = this.convert(node);
    this.budget?.leave(node);
    return value;
  }

  private convert(node: YamlNode): Value {
    switch (node.kind) {
      case 'scalar':
        return at(node, () => scalarValue(resolve(node)));
      case 'sequence':
        return node.items.map((item) => this.value(item));
      case 'mapping': {
        const mapping = new Mapping(node.offset);
        this.fill(node, mapping, new Map());
        return mapping;
      }
    }
  }

  private fill(node: YamlMapping, into: Mapping, keyTypes: Map<string, Scalar['type']>): void {
    const own = new Set<string>();
    for (const { key, value } of node.entries) {
      if (isMergeKey(key)) {
        this.merge(key, value, into, keyTypes);
        continue;
      }
      const { text, type } = this.key(key);
      const before = keyTypes.get(text);
      if (before !== undefined && before !== type) {
        throw new YamlSyntaxError(
          `the key "${text}" is given as two types, which become the same key; keep one of them`,
          key.offset,
        );
      }
      if (own.has(text)) this.onDuplicate(text, key.offset);
      own.add(text);
      keyTypes.set(text, type);
      into.members.set(text, this.value(value));
    }
  }

  private key(node: YamlNode): { readonly text: string; readonly type: Scalar['type'] } {
    if (node.kind !== 'scalar') throw new YamlSyntaxError('a list or a mapping cannot be a key', node.offset);
    this.budget?.enter(node);
    this.budget?.leave(node);
    const scalar = at(node, () => resolve(node));
    return { text: at(node, () => keyText(scalar)), type: scalar.type === 'timestamp' ? 'string' : scalar.type };
  }

  private merge(key: YamlNode, node: YamlNode, into: Mapping, keyTypes: Map<string, Scalar['type']>): void {
    // A node from further up in the text was reached by an alias, and an alias of a list is not taken.
    if (node.kind === 'sequence' && node.offset < key.offset)
      throw new YamlSyntaxError('"<<" takes no alias of a list', key.offset);
    const sources = node.kind === 'sequence' ? node.items.toReversed() : [node];
    for (const source of sources) {
      if (source.kind !== 'mapping') throw new YamlSyntaxError('"<<" needs a mapping or a list of mappings', source.offset);
      this.budget?.enter(source);
      this.fill(source, into, keyTypes);
      this.budget?.leave(source);
    }
  }
}

function at<T>(node: YamlNode, resolveNode: () => T): T {
  try {
    return resolveNode();
  } catch (thrown) {
    if (!(thrown instanceof TypeError)) throw thrown;
    throw new YamlSyntaxError(thrown.message, node.offset, { cause: thrown });
  }
}

function resolve(node: YamlScalar): Scalar {
  if (node.tag !== '') return resolveTagged(node.tag, node.text);
  return node.style === 'plain' ? resolvePlain(node.text) : { type: 'string', value: node.text };
}

function isMergeKey(key: YamlNode): boolean {
  return (
    key.kind === 'scalar' &&
    key.text === '<<' &&
    (key.tag === '' ? key.style === 'plain' : key.tag === mergeTag || key.tag === '!')
  );
}

/** Go's limit on aliases that multiply (decode.go, allowedAliasRatio), and one of ours on the text that they repeat. */
class AliasBudget {
  /** How often each node was met: from the second time on, by way of an alias. */
  private readonly visits = new Map<YamlNode, number>();
  private nodes = 0;
  private repeatedNodes = 0;
  private repeatedText = 0;
  private repeatedDepth = 0;

  enter(node: YamlNode): void {
    const visits = (this.visits.get(node) ?? 0) + 1;
    this.visits.set(node, visits);
    this.nodes++;
    if (visits > 1) this.repeatedDepth++;
    if (this.repeatedDepth === 0) return;
    this.repeatedNodes++;
    if (node.kind === 'scalar') this.repeatedText += node.text.length;
    const excessive =
      this.repeatedNodes > 100 && this.nodes > 1000 && this.repeatedNodes / this.nodes > allowedAliasRatio(this.nodes);
    if (excessive || this.repeatedText > maxRepeatedText) {
      throw new YamlSyntaxError('aliases multiply the document too much', node.offset);
    }
  }

  leave(node: YamlNode): void {
    if ((this.visits.get(node) ?? 0) > 1) this.repeatedDepth--;
  }
}

function allowedAliasRatio(nodes: number): number {
  const [low, high] = [400_000, 4_000_000];
  if (nodes <= low) return 0.99;
  if (nodes >= high) return 0.1;
  return 0.99 - 0.89 * ((nodes - low) / (high - low));
}
