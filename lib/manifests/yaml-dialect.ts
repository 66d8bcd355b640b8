import {
  type YamlDocument,
  type YamlMapping,
  type YamlNode,
  type YamlProperty,
  type YamlScalar,
  YamlSyntaxError,
} from '../yaml-tree.ts';

/**
 * Refuses what the YAML 1.2 parser reads otherwise than kubectl's YAML 1.1 scanner (go.yaml.in/yaml/v2, scannerc.go), so that no manifest
 * gets another meaning here than there.
 *
 * @param text of the one document, in lines that end with LF
 * @throws YamlSyntaxError at the first such place
 */
export function requireKubectlDialect(text: string, document: YamlDocument): void {
  const lineBreak = /[\u0085\u2028\u2029]/.exec(text);
  if (lineBreak !== null) {
    const code = lineBreak[0].charCodeAt(0).toString(16).padStart(4, '0');
    throw new YamlSyntaxError(`the character U+${code} is a line break to kubectl; write it as "\\u${code}"`, lineBreak.index);
  }
  for (const property of document.properties) checkProperty(text, property);
  new NodeCheck(text).node(document.root, false);
  checkTabs(text, document.root);
}

function checkProperty(text: string, { kind, offset, end }: YamlProperty): void {
  const next = text.slice(end, end + 1);
  const written = text.slice(offset, end);
  if (kind === 'anchor' && !(/^[\w-]+$/.test(written) && /^[\s,\]}]?$/.test(next))) {
    throw new YamlSyntaxError('an anchor may hold only letters, digits, "-" and "_", and a space must follow it', offset);
  }
  if (kind === 'tag' && !(/^(?:!|!<[\w!:/.,-]+>|!!?[\w:/.-]+|![\w-]+![\w:/.-]+)$/.test(written) && /^\s?$/.test(next))) {
    throw new YamlSyntaxError('a tag may hold only letters, digits and "-_.:/", and a space must follow it', offset);
  }
}

class NodeCheck {
  private readonly text: string;
  private readonly seen = new Set<YamlNode>();

  constructor(text: string) {
    this.text = text;
  }

  node(node: YamlNode, inFlow: boolean): void {
    if (node.kind === 'scalar') this.scalar(node, inFlow);
    else if (!this.seen.has(node)) {
      this.seen.add(node);
      if (node.kind === 'mapping') this.mapping(node);
      else for (const item of node.items) this.node(item, node.flow);
    }
  }

  private mapping(node: YamlMapping): void {
    for (const { key, value } of node.entries) {
      this.node(key, node.flow);
      this.node(value, node.flow);
      if (key.kind !== 'scalar') continue;
      this.key(key, node.flow);
      if (!node.flow && value.kind !== 'scalar' && !value.flow) this.nested(key, value);
    }
  }

  private key(key: YamlScalar, inFlow: boolean): void {
    if (key.end - key.offset > 1000) throw new YamlSyntaxError('a key is longer than 1,000 characters', key.offset);
    if (inFlow) this.keyLine(key);
    if (inFlow && key.style === 'plain' && key.end > key.offset && /^:[,[\]{}]/.test(this.text.slice(key.end, key.end + 2))) {
      throw new YamlSyntaxError('a space is expected behind ":"', key.end);
    }
  }

  /** A key without "?" and its colon must be on one line. */
  private keyLine(key: YamlScalar): void {
    const colon = /["']?(?:\s|#.*\n)*:/y;
    colon.lastIndex = key.end;
    const end = colon.test(this.text) ? colon.lastIndex : key.end;
    if (/[\r\n]/.test(this.text.slice(key.offset, end))) {
      throw new YamlSyntaxError('a key within braces must be on one line with its ":"', key.offset);
    }
  }

  /** The parser lets `a: &x b: c` pass. */
  private nested(key: YamlScalar, value: YamlNode): void {
    if (value.offset >= key.end && !this.text.slice(key.end, value.offset).includes('\n')) {
      throw new YamlSyntaxError('a mapping or list cannot begin on the line of its key', value.offset);
    }
  }

  private scalar(node: YamlScalar, inFlow: boolean): void {
    if (node.style === 'plain' && inFlow) this.plainInFlow(node);
    else if (node.style === 'double-quoted') this.escapes(node);
    else if (node.style === 'block') this.block(node);
  }

  private plainInFlow(node: YamlScalar): void {
    const source = this.text.slice(node.offset, node.end);
    if (/\n *\t/.test(source)) throw new YamlSyntaxError('a tab at the beginning of a line', node.offset);
    if (source.includes('?') || source.startsWith(':')) {
      throw new YamlSyntaxError('"?" and a leading ":" have a meaning within [] and {}; put the text in quotes', node.offset);
    }
  }

  private escapes(node: YamlScalar): void {
    const source = this.text.slice(node.offset, node.end);
    if (!source.includes('\\')) return;
    if (/\\\r?\n[ \t\r]*\n/.test(source)) {
      throw new YamlSyntaxError('an empty line behind a "\\" at the end of a line; write "\\n" for a line feed', node.offset);
    }
    for (const match of source.matchAll(/\\(?:[^xuU]|x..|u(....)|U(.{8}))/gs)) {
      const code = Number.parseInt(match[1] ?? match[2] ?? '0', 16);
      if (match[0] === '\\/' || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) {
        throw new YamlSyntaxError(
          `the escape ${match[0]} is unknown to kubectl; write the character itself`,
          node.offset + match.index,
        );
      }
    }
  }

  /** Unless its indentation is given as a number, it is found from the first lines, which then must be free of tabs. */
  private block(node: YamlScalar): void {
    const header = this.text.slice(this.text.lastIndexOf('\n', node.offset - 2) + 1, node.offset);
    if (/[|>][-+]?[1-9][-+]?[ \t]*(?:#.*)?\n$/.test(header)) return;
    if (/^(?: *\n)* *\t/.test(this.text.slice(node.offset, node.end))) {
      throw new YamlSyntaxError('a tab where the indentation of the block is expected', node.offset);
    }
  }
}

/** Outside of scalars and brackets kubectl takes no tab at the beginning of a line, be the line empty, nor behind `-`, `?` and `:` there. */
function checkTabs(text: string, root: YamlNode): void {
  const suspects = [...text.matchAll(/^(?: *[-?:](?=[ \t]))* *\t/gm)].map((match) => match.index + match[0].length - 1);
  if (suspects.length === 0) return;
  const spans: Span[] = [];
  new SpanCollector(text, spans).collect(root);
  spans.sort((a, b) => a.start - b.start);
  let next = 0;
  let tolerantUntil = 0;
  for (const offset of suspects) {
    for (let span = spans[next]; span !== undefined && span.start <= offset; span = spans[++next]) {
      tolerantUntil = Math.max(tolerantUntil, span.end);
    }
    if (offset >= tolerantUntil) throw new YamlSyntaxError('tab characters must not be used in indentation', offset);
  }
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** Collects where scalars and brackets are. */
class SpanCollector {
  private readonly text: string;
  private readonly spans: Span[];
  private readonly seen = new Set<YamlNode>();

  constructor(text: string, spans: Span[]) {
    this.text = text;
    this.spans = spans;
  }

  /** @returns the end of the node, closing brackets included */
  collect(node: YamlNode): number {
    if (node.kind === 'scalar') {
      this.spans.push({ start: node.offset, end: node.end });
      return node.end;
    }
    if (this.seen.has(node)) return node.offset;
    this.seen.add(node);
    let end = node.offset;
    for (const child of node.kind === 'sequence' ? node.items : node.entries.flatMap(({ key, value }) => [key, value])) {
      end = Math.max(end, this.collect(child));
    }
    if (!node.flow || !/[[{]/.test(this.text.slice(node.offset, node.offset + 1))) return end;
    const rest = /(?:[[{]|["'])?(?:[\s,:]|#.*)*[\]}]/y;
    rest.lastIndex = end;
    const closed = rest.test(this.text) ? rest.lastIndex : end;
    this.spans.push({ start: node.offset, end: closed });
    return closed;
  }
}
