import { UserError } from '../../lib/errors.ts';
import { ByteReader, EndOfStream } from './byte-reader.ts';
import { type GitProcess, startGit } from './git-process.ts';

export type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';

export interface ObjectInfo {
  /** Hexadecimal. */
  readonly oid: string;
  readonly type: ObjectType;
  /** Bytes. */
  readonly size: number;
}

/** The process ended before it answered. `cause` is a GitFailure; exit code 128 is git's own refusal of a request. */
export class CatFileEnded extends Error {
  override readonly name = 'CatFileEnded';
  /** Whether this was the request at work, which may be why the process ended; the others only waited behind it. */
  readonly atWork: boolean;

  constructor(message: string, atWork: boolean, cause?: unknown) {
    super(message, { cause });
    this.atWork = atWork;
  }
}

const HEADER = /^([0-9a-f]{40}|[0-9a-f]{64}) (commit|tree|blob|tag) (\d+)$/;
const LF_BYTES = 1;

interface Request {
  /** Takes the answer off the pipe, whole, whatever became of the one who asked. */
  receive(info: ObjectInfo | undefined, reader: ByteReader): Promise<void>;
  reject(error: Error): void;
}

/**
 * One `git cat-file --batch-command --buffer`. Requests are written as they come and answered in order, so many can be
 * under way. One that nobody waits for any more is read off the pipe all the same, which keeps answers and requests in step.
 * The process reads refs and packs anew, so that it sees what is pushed while it runs.
 * Protocol: git-cat-file(1), section "BATCH OUTPUT".
 */
export class CatFile {
  readonly #process: GitProcess;
  readonly #stop = new AbortController();
  readonly #pending: Request[] = [];
  #unsent: Buffer[] = [];
  #failure: Error | undefined;

  constructor(repositoryPath: string) {
    this.#process = startGit(
      ['--git-dir=.', 'cat-file', '--batch-command', '--buffer'],
      { cwd: repositoryPath },
      this.#stop.signal,
    );
    void this.#receiveAnswers();
  }

  get alive(): boolean {
    return this.#failure === undefined;
  }

  get idle(): boolean {
    return this.#pending.length === 0;
  }

  get pid(): number | undefined {
    return this.#process.child.pid;
  }

  /** What an object name (id, ref or revision expression without white space) stands for; undefined when it is missing. */
  info(object: Buffer): Promise<ObjectInfo | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<ObjectInfo | undefined>();
    this.#ask('info', object, {
      receive: async (info) => resolve(info),
      reject,
    });
    return promise;
  }

  /** An object's content in one piece; undefined when it is missing. UserError `precondition` when it is larger than `maxBytes`. */
  contents(oid: string, maxBytes: number): Promise<Buffer | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
    this.#ask('contents', Buffer.from(oid), {
      receive: async (info, reader) => {
        if (info === undefined) return resolve(undefined);
        if (info.size > maxBytes) {
          await reader.skip(info.size + LF_BYTES);
          return reject(new UserError(`object ${oid} has ${info.size} bytes, more than ${maxBytes}`, { kind: 'precondition' }));
        }
        const content = await reader.exactly(info.size);
        await reader.skip(LF_BYTES);
        resolve(content);
      },
      reject,
    });
    return promise;
  }

  /**
   * An object's content in chunks of at most `chunkBytes`; nothing is read off the pipe faster than chunks are taken.
   * A caller that leaves early must `kill` the process: it is in the middle of an answer.
   */
  async *stream(oid: string, chunkBytes: number): AsyncGenerator<Buffer, void, void> {
    const opened = Promise.withResolvers<{ size: number; reader: ByteReader }>();
    const finished = Promise.withResolvers<void>();
    this.#ask('contents', Buffer.from(oid), {
      receive: async (info, reader) => {
        if (info === undefined) return opened.reject(new Error(`object ${oid} is missing`));
        opened.resolve({ size: info.size, reader });
        await finished.promise;
      },
      reject: opened.reject,
    });
    try {
      const { size, reader } = await opened.promise;
      for (let left = size; left > 0; left -= chunkBytes) yield await this.#read(reader, Math.min(chunkBytes, left));
      await this.#skip(reader, LF_BYTES);
    } finally {
      finished.resolve();
    }
  }

  kill(): void {
    this.#failure ??= new CatFileEnded('git cat-file was stopped', false);
    this.#end(new DOMException('git cat-file is no longer needed', 'AbortError'));
  }

  #ask(command: 'info' | 'contents', object: Buffer, request: Request): void {
    if (this.#failure !== undefined) return request.reject(this.#failure);
    if (object.includes('\n')) return request.reject(new UserError("object names can't contain a line feed"));
    this.#pending.push(request);
    // What is asked for in the same turn goes out in one write, with one flush.
    if (this.#unsent.length === 0) queueMicrotask(() => this.#send());
    this.#unsent.push(Buffer.from(`${command} `), object, Buffer.from('\n'));
  }

  #send(): void {
    this.#process.child.stdin.write(Buffer.concat([...this.#unsent, Buffer.from('flush\n')]));
    this.#unsent = [];
  }

  async #receiveAnswers(): Promise<void> {
    const reader = new ByteReader(this.#process.child.stdout);
    try {
      while (true) {
        const header = await reader.line();
        const request = this.#pending[0];
        if (request === undefined) throw new Error('git cat-file answered what was not asked');
        await request.receive(parseHeader(header), reader);
        this.#pending.shift();
      }
    } catch (error) {
      await this.#fail(error);
    }
  }

  async #fail(error: unknown): Promise<void> {
    this.#failure ??= await this.#ended(error);
    this.#end(this.#failure);
    const [first, ...others] = this.#pending.splice(0);
    first?.reject(new CatFileEnded(this.#failure.message, true, this.#failure.cause));
    for (const request of others) request.reject(this.#failure);
  }

  async #ended(error: unknown): Promise<Error> {
    if (!(error instanceof EndOfStream)) this.#end(error);
    const cause: unknown = await this.#process.ended.then(
      () => error,
      (reason: unknown) => reason,
    );
    return new CatFileEnded('git cat-file has ended', false, cause);
  }

  /** Output that nobody reads any more would keep the pipe open. */
  #end(reason: unknown): void {
    this.#stop.abort(reason);
    this.#process.child.stdout.destroy();
  }

  async #read(reader: ByteReader, count: number): Promise<Buffer> {
    try {
      return await reader.exactly(count);
    } catch (error) {
      throw await this.#ended(error);
    }
  }

  async #skip(reader: ByteReader, count: number): Promise<void> {
    try {
      await reader.skip(count);
    } catch (error) {
      throw await this.#ended(error);
    }
  }
}

/** Undefined for every answer that is not an object: missing, ambiguous. */
function parseHeader(line: Buffer): ObjectInfo | undefined {
  const [, oid, type, size] = HEADER.exec(line.toString('latin1')) ?? [];
  if (oid === undefined || type === undefined || size === undefined) return undefined;
  return { oid, type: type as ObjectType, size: Number(size) };
}
