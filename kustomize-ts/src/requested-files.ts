import type { HelmChart } from './charts.ts';
import type { Content } from './files.ts';
import type { FileLimits } from './limits.ts';
import type { Answer } from './messages.ts';

/** Who answers for what is not in the module, by waiting until it is known. */
export interface Ask {
  file(path: string): Answer;
  chart(chart: HelmChart): Answer;
}

/** What is at a path: bytes of a file, or why there are none. */
export type Found = Uint8Array | 'missing' | 'directory' | 'link' | 'too large' | 'unavailable';

/** The files and charts of one build: each is asked for once, and what was asked for is remembered. */
export class RequestedFiles {
  readonly #ask: Ask;
  readonly #limits: FileLimits;
  readonly #found = new Map<string, Found>();
  readonly #charts = new Map<string, Found>();
  readonly #read = new Set<string>();
  #totalBytes = 0;

  constructor(ask: Ask, limits: FileLimits) {
    this.#ask = ask;
    this.#limits = limits;
  }

  lookup(path: string): Found {
    return this.#once(this.#found, path, () => this.#ask.file(path));
  }

  /** The rendering of a chart, given as JSON. */
  chart(request: string): Found {
    return this.#once(this.#charts, request, () => this.#ask.chart(JSON.parse(request) as HelmChart));
  }

  /** The content of what was found to be a file. */
  read(path: string): Uint8Array {
    const found = this.lookup(path);
    if (typeof found === 'string') throw new Error(`${path} is not a file`);
    this.#read.add(path);
    return found;
  }

  /** Of a file that was read already. */
  contentOf(path: string): Buffer | undefined {
    const found = this.#read.has(path) ? this.#found.get(path) : undefined;
    return found instanceof Uint8Array ? Buffer.from(found.buffer, found.byteOffset, found.length) : undefined;
  }

  /** Forgets what was read, not the contents: a build begins again. */
  restart(): void {
    this.#read.clear();
  }

  get readPaths(): readonly string[] {
    return [...this.#read];
  }

  get missingPaths(): readonly string[] {
    return [...this.#found].filter(([, found]) => found === 'missing').map(([path]) => path);
  }

  #once(known: Map<string, Found>, key: string, ask: () => Answer): Found {
    let found = known.get(key);
    if (found === undefined) {
      found = this.#find(ask);
      known.set(key, found);
    }
    return found;
  }

  #find(ask: () => Answer): Found {
    if (this.#found.size + this.#charts.size >= this.#limits.maxFiles) return 'too large';
    const answer = ask();
    if (answer.kind !== 'file') return answer.kind;
    const content = bytesOf(answer.content);
    this.#totalBytes += content.length;
    const { maxFileBytes, maxTotalBytes } = this.#limits;
    return content.length > maxFileBytes || this.#totalBytes > maxTotalBytes ? 'too large' : content;
  }
}

function bytesOf(content: Content): Uint8Array {
  return typeof content === 'string' ? Buffer.from(content) : content;
}

/** Answers from a map of all files. Keys are paths from the root of the tree, with `/` between. */
export function askMap(files: ReadonlyMap<string, Content>): Ask['file'] {
  const folders = new Set(['.']);
  for (const path of files.keys())
    for (let end = path.indexOf('/'); end !== -1; end = path.indexOf('/', end + 1)) folders.add(path.slice(0, end));
  return (path) => {
    const content = files.get(path);
    if (content !== undefined) return { kind: 'file', content };
    return { kind: folders.has(path) ? 'directory' : 'missing' };
  };
}
