import { COLLECTION_STYLE, EVENT_ID, type Event, getScalarValue, parseEvents, SCALAR_STYLE, YAMLException } from 'js-yaml';

/** A node of a YAML document with its place. `offset` counts UTF-16 code units from the start of the text. */
export type YamlNode = YamlScalar | YamlSequence | YamlMapping;

export interface YamlScalar {
  readonly kind: 'scalar';
  readonly offset: number;
  /** The tag in full (`tag:yaml.org,2002:str`, `!` or a local one); empty if none is written. */
  readonly tag: string;
  readonly text: string;
  /** Only a plain one may mean a number, a boolean or null. */
  readonly style: 'plain' | 'single-quoted' | 'double-quoted' | 'block';
  /** Offset behind the text, without a closing quote; equal to `offset` if nothing is written. */
  readonly end: number;
}

export interface YamlSequence {
  readonly kind: 'sequence';
  readonly offset: number;
  readonly tag: string;
  /** Written in brackets. */
  readonly flow: boolean;
  readonly items: YamlNode[];
}

export interface YamlMapping {
  readonly kind: 'mapping';
  readonly offset: number;
  readonly tag: string;
  /** Written in braces, or a single pair within brackets. */
  readonly flow: boolean;
  /** In the order of the text, duplicates included. */
  readonly entries: YamlEntry[];
}

export interface YamlEntry {
  readonly key: YamlNode;
  value: YamlNode;
}

export interface YamlProperty {
  readonly kind: 'anchor' | 'tag';
  readonly offset: number;
  readonly end: number;
}

/** A document that holds nothing but comments has no root. An alias is the very node that it points at, so nodes can be shared. */
export interface YamlDocument {
  readonly root: YamlNode;
  /** Without aliases the document is a tree. */
  readonly hasAliases: boolean;
  /** Anchors, without their `&`, and tags as written. */
  readonly properties: readonly YamlProperty[];
}

/** Text that is no YAML. The message is free of places; `offset` says where. */
export class YamlSyntaxError extends Error {
  override readonly name = 'YamlSyntaxError';
  readonly offset: number;

  constructor(message: string, offset: number, options?: ErrorOptions) {
    super(message, options);
    this.offset = offset;
  }
}

/** Finds lines and columns, both from 1, of offsets in a text. A line ends with LF, CRLF or CR. */
export class LineIndex {
  private readonly starts: number[] = [0];

  constructor(text: string) {
    for (const match of text.matchAll(/\r\n?|\n/g)) this.starts.push(match.index + match[0].length);
  }

  line(offset: number): number {
    let low = 0;
    let high = this.starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  column(offset: number): number {
    return offset - (this.starts[this.line(offset) - 1] ?? 0) + 1;
  }
}

/**
 * Parses YAML 1.2 into nodes and leaves their meaning to the caller: duplicate keys, tags and scalars come as written.
 * Work and memory are linear in the text: aliases share nodes, and an alias inside of what it names is refused.
 *
 * @throws YamlSyntaxError
 */
export function parseYamlTree(text: string, options: { readonly maxDepth: number }): YamlDocument[] {
  return new TreeBuilder(text).build(readEvents(text, options.maxDepth));
}

function readEvents(text: string, maxDepth: number): Event[] {
  try {
    return parseEvents(text, { maxDepth });
  } catch (thrown) {
    if (!(thrown instanceof YAMLException)) throw thrown;
    throw new YamlSyntaxError(describe(thrown.reason, maxDepth), thrown.mark?.position ?? 0, { cause: thrown });
  }
}

function describe(reason: string, maxDepth: number): string {
  if (reason.startsWith('nesting exceeded')) return `nested deeper than ${maxDepth} levels`;
  return reason;
}

type Frame = { readonly node: YamlSequence } | { readonly node: YamlMapping; key: YamlNode | undefined };

const styles = {
  [SCALAR_STYLE.PLAIN]: 'plain',
  [SCALAR_STYLE.SINGLE_QUOTED]: 'single-quoted',
  [SCALAR_STYLE.DOUBLE_QUOTED]: 'double-quoted',
  [SCALAR_STYLE.LITERAL_BLOCK]: 'block',
  [SCALAR_STYLE.FOLDED_BLOCK]: 'block',
} as const;
const standardTags = 'tag:yaml.org,2002:';

class TreeBuilder {
  private readonly text: string;
  private readonly documents: YamlDocument[] = [];
  private readonly frames: Frame[] = [];
  private readonly open = new Set<YamlNode>();
  private anchors = new Map<string, YamlNode>();
  private tagPrefixes = new Map<string, string>();
  private hasAliases = false;
  private properties: YamlProperty[] = [];
  /** Where an empty node, which has no place of its own, is said to be. */
  private lastOffset = 0;
  private root: YamlNode | undefined;
  private inDocument = false;

  constructor(text: string) {
    this.text = text;
  }

  build(events: readonly Event[]): YamlDocument[] {
    for (const event of events) {
      switch (event.type) {
        case EVENT_ID.DOCUMENT:
          this.startDocument(event);
          break;
        case EVENT_ID.SCALAR:
          this.scalar(event);
          break;
        case EVENT_ID.ALIAS:
          this.alias(this.text.slice(event.anchorStart, event.anchorEnd), event.anchorStart - 1);
          break;
        case EVENT_ID.SEQUENCE:
          this.startCollection(event, {
            kind: 'sequence',
            offset: event.start,
            tag: this.tag(event),
            flow: event.style === COLLECTION_STYLE.FLOW,
            items: [],
          });
          break;
        case EVENT_ID.MAPPING:
          this.startCollection(event, {
            kind: 'mapping',
            offset: event.start,
            tag: this.tag(event),
            flow: event.style === COLLECTION_STYLE.FLOW,
            entries: [],
          });
          break;
        case EVENT_ID.POP:
          this.end();
          break;
      }
    }
    return this.documents;
  }

  private startDocument(event: Extract<Event, { type: typeof EVENT_ID.DOCUMENT }>): void {
    this.anchors = new Map();
    this.properties = [];
    this.hasAliases = false;
    this.root = undefined;
    this.inDocument = true;
    this.tagPrefixes = new Map();
    for (const directive of event.directives) {
      if (directive.kind === 'tag') this.tagPrefixes.set(directive.handle, directive.prefix);
    }
  }

  private scalar(event: Extract<Event, { type: typeof EVENT_ID.SCALAR }>): void {
    const offset = event.valueStart === -1 ? this.lastOffset : event.valueStart;
    this.lastOffset = offset;
    const node: YamlScalar = {
      kind: 'scalar',
      offset,
      end: event.valueStart === -1 ? offset : event.valueEnd,
      tag: this.tag(event),
      text: getScalarValue(this.text, event),
      style: styles[event.style],
    };
    if (event.anchorStart !== -1) this.anchor(event, node);
    this.add(node);
  }

  private startCollection(
    event: { readonly start: number; readonly anchorStart: number; readonly anchorEnd: number },
    node: YamlSequence | YamlMapping,
  ): void {
    this.lastOffset = event.start;
    if (event.anchorStart !== -1) {
      this.anchor(event, node);
      this.open.add(node);
    }
    this.add(node);
    this.frames.push(node.kind === 'mapping' ? { node, key: undefined } : { node });
  }

  private anchor(event: { readonly anchorStart: number; readonly anchorEnd: number }, node: YamlNode): void {
    const name = this.text.slice(event.anchorStart, event.anchorEnd);
    this.anchors.set(name, node);
    this.properties.push({ kind: 'anchor', offset: event.anchorStart, end: event.anchorEnd });
  }

  private alias(name: string, offset: number): void {
    const node = this.anchors.get(name);
    if (node === undefined) throw new YamlSyntaxError(`unknown anchor "${name}"`, offset);
    if (this.open.has(node)) throw new YamlSyntaxError(`anchor "${name}" contains itself`, offset);
    this.lastOffset = offset;
    this.hasAliases = true;
    this.add(node);
  }

  private end(): void {
    const frame = this.frames.pop();
    if (frame !== undefined) {
      this.open.delete(frame.node);
      return;
    }
    if (this.inDocument && this.root !== undefined) {
      this.documents.push({ root: this.root, hasAliases: this.hasAliases, properties: this.properties });
    }
    this.inDocument = false;
  }

  private add(node: YamlNode): void {
    const frame = this.frames.at(-1);
    if (frame === undefined) this.root = node;
    else if (!('key' in frame)) frame.node.items.push(node);
    else if (frame.key === undefined) frame.key = node;
    else {
      frame.node.entries.push({ key: frame.key, value: node });
      frame.key = undefined;
    }
  }

  private tag(event: { readonly tagStart: number; readonly tagEnd: number }): string {
    if (event.tagStart === -1) return '';
    this.properties.push({ kind: 'tag', offset: event.tagStart, end: event.tagEnd });
    const raw = this.text.slice(event.tagStart, event.tagEnd);
    if (raw.startsWith('!<')) return decodeTag(raw.slice(2, -1), event.tagStart);
    const handle = raw.slice(0, raw.indexOf('!', 1) + 1) || '!';
    const prefix = this.tagPrefixes.get(handle) ?? (handle === '!!' ? standardTags : handle);
    return prefix + decodeTag(raw.slice(handle.length), event.tagStart);
  }
}

function decodeTag(text: string, offset: number): string {
  try {
    return decodeURIComponent(text);
  } catch (thrown) {
    throw new YamlSyntaxError('tag with a malformed percent escape', offset, { cause: thrown });
  }
}
