import { fromJsonNumber, Mapping, type Value } from './manifest-value.ts';

/** Text that is no JSON. `offset` counts UTF-16 code units from the start of the text. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError';
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** Told of each key that an object holds twice; the later one counts, as in Go. */
export type DuplicateKeyHandler = (key: string, offset: number) => void;

const whitespace = /[ \t\r\n]*/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
// Anything from the space on, but for the quote and the backslash.
const simpleString = /"[ !#-[\]-\uffff]*"/y;
const escapedString = /"[ !#-[\]-\uffff]*(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[ !#-[\]-\uffff]*)*"/y;

/**
 * Reads the JSON value that starts at an offset, ignoring what follows it. Unlike JSON.parse it keeps 64-bit integers exact, knows where
 * objects begin, and can read one value of a stream.
 *
 * @throws JsonSyntaxError
 */
export class JsonReader {
  private readonly text: string;
  private readonly maxDepth: number;
  private readonly onDuplicate: DuplicateKeyHandler;
  /** Where the next value may start. */
  position = 0;
  private unreadable: JsonSyntaxError | undefined;

  constructor(text: string, options: { readonly maxDepth: number; readonly onDuplicate: DuplicateKeyHandler }) {
    this.text = text;
    this.maxDepth = options.maxDepth;
    this.onDuplicate = options.onDuplicate;
  }

  /** Skips white space; false at the end of the text. */
  hasNext(): boolean {
    this.skipWhitespace();
    return this.position < this.text.length;
  }

  /** `unreadable` tells of the first number that is well-formed, but beyond what Kubernetes can hold. */
  next(): { readonly value: Value; readonly unreadable: JsonSyntaxError | undefined } {
    this.skipWhitespace();
    this.unreadable = undefined;
    const value = this.value(0);
    return { value, unreadable: this.unreadable };
  }

  private value(depth: number): Value {
    const start = this.text[this.position];
    switch (start) {
      case '{':
        return this.object(depth + 1);
      case '[':
        return this.array(depth + 1);
      case '"':
        return this.string();
      case 't':
        return this.literal('true', true);
      case 'f':
        return this.literal('false', false);
      case 'n':
        return this.literal('null', null);
      default:
        return this.number();
    }
  }

  private object(depth: number): Mapping {
    this.checkDepth(depth);
    const mapping = new Mapping(this.position++);
    this.skipWhitespace();
    if (this.accept('}')) return mapping;
    do {
      this.skipWhitespace();
      const keyOffset = this.position;
      if (this.text[keyOffset] !== '"') this.fail('expected a key in double quotes');
      const key = this.string();
      this.skipWhitespace();
      if (!this.accept(':')) this.fail('expected ":" after a key');
      this.skipWhitespace();
      if (mapping.members.has(key)) this.onDuplicate(key, keyOffset);
      mapping.members.set(key, this.value(depth));
      this.skipWhitespace();
    } while (this.accept(','));
    if (!this.accept('}')) this.fail('expected "," or "}"');
    return mapping;
  }

  private array(depth: number): Value[] {
    this.checkDepth(depth);
    this.position++;
    const items: Value[] = [];
    this.skipWhitespace();
    if (this.accept(']')) return items;
    do {
      this.skipWhitespace();
      items.push(this.value(depth));
      this.skipWhitespace();
    } while (this.accept(','));
    if (!this.accept(']')) this.fail('expected "," or "]"');
    return items;
  }

  private string(): string {
    const simple = this.match(simpleString);
    if (simple !== undefined) return simple.slice(1, -1);
    const quoted = this.match(escapedString);
    if (quoted === undefined) this.fail('malformed string');
    return (JSON.parse(quoted) as string).toWellFormed();
  }

  private number(): number | bigint {
    const offset = this.position;
    const text = this.match(number);
    if (text === undefined) this.fail(offset >= this.text.length ? 'unexpected end' : 'expected a value');
    const value = fromJsonNumber(text);
    if (value === undefined) this.unreadable ??= new JsonSyntaxError(`the number ${text.slice(0, 40)} is too large`, offset);
    return value ?? 0;
  }

  private literal<T extends Value>(word: string, value: T): T {
    if (!this.text.startsWith(word, this.position)) this.fail('expected a value');
    this.position += word.length;
    return value;
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position;
    const text = pattern.exec(this.text)?.[0];
    if (text !== undefined) this.position += text.length;
    return text;
  }

  private accept(character: string): boolean {
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }

  private skipWhitespace(): void {
    whitespace.lastIndex = this.position;
    whitespace.test(this.text);
    this.position = whitespace.lastIndex;
  }

  private checkDepth(depth: number): void {
    if (depth > this.maxDepth) this.fail(`nested deeper than ${this.maxDepth} levels`);
  }

  private fail(message: string): never {
    throw new JsonSyntaxError(message, this.position);
  }
}
