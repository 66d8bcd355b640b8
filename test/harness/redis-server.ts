import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.ts';
import { type ReapedProcess, spawnReaped } from './reaped-process.ts';
import { ensureRedis, type RedisBinary } from './redis-binary.ts';
import { createTempDir, type TempDir } from './temp-dir.ts';

export interface RedisServerOptions {
  /** Lines for its configuration beside the port: TLS, a password, what Sentinel watches. */
  readonly settings?: readonly string[];
  /** TLS alone listens; `settings` name certificate and key. */
  readonly tls?: boolean;
  /** Runs as Sentinel. */
  readonly sentinel?: boolean;
}

const READY = /Ready to accept connections|Sentinel ID is|\+monitor/;
const ATTEMPTS = 5;

/**
 * A real redis-server on 127.0.0.1 that keeps nothing on disk: killed and started again it is empty, as one without
 * persistence. It ends with the process that started it.
 */
export class RedisServer implements AsyncDisposable {
  readonly #binary: RedisBinary;
  readonly #options: RedisServerOptions;
  readonly #directory: TempDir;
  #port = 0;
  #child: ReapedProcess | undefined;

  private constructor(binary: RedisBinary, options: RedisServerOptions, directory: TempDir) {
    this.#binary = binary;
    this.#options = options;
    this.#directory = directory;
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const binary = await ensureRedis(new AbortController().signal);
    const server = new RedisServer(binary, options, await createTempDir());
    try {
      for (let attempt = 1; ; attempt += 1) {
        server.#port = await freePort();
        const failure = await server.#run();
        if (failure === undefined) return server;
        // Somebody may have taken the port since.
        if (attempt === ATTEMPTS) throw new Error(`redis-server does not start:\n${failure}`);
      }
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  get port(): number {
    return this.#port;
  }

  /** `127.0.0.1:port` */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** As `kill -9` would: what it held is lost. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#child?.exited;
  }

  /** Starts it again on the same port, empty. */
  async startAgain(): Promise<void> {
    const failure = await this.#run();
    if (failure !== undefined) throw new Error(`redis-server does not start again:\n${failure}`);
  }

  /** It takes connections and answers nothing, until `resume`. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child?.killGroup();
    await this.#directory.remove();
  }

  /** Resolves when it is ready, or with what it wrote when it ended instead. */
  async #run(): Promise<string | undefined> {
    const { settings = [], tls = false, sentinel = false } = this.#options;
    const port = tls ? ['port 0', `tls-port ${this.#port}`] : [`port ${this.#port}`];
    const persistence = sentinel ? [] : ['save ""', 'appendonly no'];
    const file = `${this.#directory.path}/redis.conf`;
    const text = [...port, 'bind 127.0.0.1', `dir ${this.#directory.path}`, ...persistence, ...settings].join('\n');
    await writeFile(file, `${text}\n`);
    const env = { ...process.env, ...this.#binary.env };
    const child = await spawnReaped(this.#binary.path, [file, ...(sentinel ? ['--sentinel'] : [])], { env });
    this.#child = child;
    child.stderr?.resume();
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const lines: string[] = [];
    if (child.stdout === null) throw new Error('redis-server has no output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (READY.test(line)) resolve(undefined);
      else if (lines.length < 50) lines.push(line);
    });
    void child.exited.then(() => resolve(lines.join('\n')));
    return await promise;
  }
}
