import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { type BidiCall, callBidi } from '../lib/grpc/call.ts';
import { createLogger } from '../lib/log.ts';
import { type ConnectRequest, type ConnectResponse, type HeldUnit, SessionClient } from '../proto/gen/kas/agent/v1/session.ts';
import { runKas } from './app.ts';
import { loadKasConfig } from './config/load.ts';
import { GitalyFixture } from './gitaly/gitaly-fixture.ts';
import { createAgentToken } from './registry/agent-tokens.ts';

export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

/** For a busy machine. */
const TIMEOUT_MS = 40_000;

/** For tests: kas in this process, with a registry file and a git server, all real and all on ports of the system's choice. */
export class KasFixture implements AsyncDisposable {
  readonly gitaly: GitalyFixture;
  readonly lines: LogLine[] = [];
  readonly secret = randomBytes(32);
  #abort = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(gitaly: GitalyFixture) {
    this.gitaly = gitaly;
  }

  /**
   * Agents `one` (id 1, project `team/one`) and `two` (id 2, same project). `listenYaml` goes below `agent: listen:`,
   * `agentYaml` below `agent:`, `gitopsYaml` below `agent: gitops:`, `apiYaml` below `api: listen:`, `registryYaml` takes the
   * place of the registry file.
   */
  static async start({
    listenYaml = '',
    agentYaml = '',
    gitopsYaml = '',
    apiYaml = '',
    observabilityYaml = '',
    pollPeriod = '150ms',
    registryYaml = REGISTRY,
  } = {}): Promise<KasFixture> {
    const fixture = new KasFixture(await GitalyFixture.start());
    await writeFile(fixture.registryFile, registryFileYaml(fixture.gitaly.port));
    await writeFile(join(fixture.gitaly.folder, 'api-secret'), fixture.secret.toString('base64'));
    const file = join(fixture.gitaly.folder, 'kas.yaml');
    await writeFile(
      file,
      configYaml({ listenYaml, agentYaml, gitopsYaml, apiYaml, observabilityYaml, pollPeriod }) + registryYaml,
    );
    await fixture.#run();
    return fixture;
  }

  async #run(): Promise<void> {
    const config = await loadKasConfig(join(this.gitaly.folder, 'kas.yaml'));
    const log = createLogger('kas', 'debug', { write: (line) => void this.lines.push(JSON.parse(line) as LogLine) });
    this.#running = runKas(config, log, this.#abort.signal);
    this.#running.catch(() => undefined);
    await Promise.race([this.#running, eventually(() => this.line('kas is ready'))]);
  }

  get registryFile(): string {
    return join(this.gitaly.folder, 'registry.yaml');
  }

  /** `agentAddress`, `apiAddress` or `observabilityAddress`. */
  address(name: string): string {
    return String(this.line('kas is ready')?.[name]);
  }

  /** The newest log line with this text. */
  line(message: string): LogLine | undefined {
    return this.lines.findLast((line) => line.msg === message);
  }

  async token(agent: string): Promise<string> {
    return await createAgentToken(this.registryFile, agent);
  }

  /** As SIGTERM would; resolves when kas has ended. */
  async stop(): Promise<void> {
    this.#abort.abort(new DOMException('The test ends', 'AbortError'));
    await this.#running;
  }

  /** Another kas in the place of this one: its ports are others, its files are the same. */
  async restart(): Promise<void> {
    await this.stop();
    this.lines.length = 0;
    this.#abort = new AbortController();
    await this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => undefined);
    await this.gitaly[Symbol.asyncDispose]();
  }
}

const REGISTRY = 'registry: { file: registry.yaml }\n';

function registryFileYaml(port: number): string {
  return `gitaly_servers:
  default: { address: "tcp://127.0.0.1:${port}", token_file: token }
agents:
  - { id: 1, name: one, project: team/one }
  - { id: 2, name: two, project: team/one }
projects:
  - { path: team/one }
  - { path: team/app, public: true }
`;
}

function configYaml({
  listenYaml,
  agentYaml,
  gitopsYaml,
  apiYaml,
  observabilityYaml,
  pollPeriod,
}: Record<string, string>): string {
  return `agent:
${agentYaml}  listen: { address: "127.0.0.1:0"${listenYaml} }
  configuration: { poll_period: ${pollPeriod} }
  gitops: { poll_period: ${pollPeriod}${gitopsYaml} }
observability: { listen: { address: "127.0.0.1:0" }${observabilityYaml} }
api: { listen: { address: "127.0.0.1:0", authentication_secret_file: api-secret${apiYaml} } }
`;
}

/** An agent's end of a session: a real client, and what it was sent. */
export class TestAgent implements Disposable {
  readonly received: NonNullable<ConnectResponse['message']>[] = [];
  /** Resolves when the stream ended with OK, rejects as its status says. */
  readonly ended: Promise<void>;
  #reading: Promise<void> = Promise.resolve();
  #resume: () => void = () => undefined;
  readonly #client: SessionClient;
  readonly #call: BidiCall<ConnectRequest, ConnectResponse>;

  constructor(address: string, authorization: string | undefined) {
    this.#client = new SessionClient(address, credentials.createInsecure());
    const metadata = new Metadata();
    if (authorization !== undefined) metadata.set('authorization', authorization);
    const signal = AbortSignal.timeout(60_000);
    this.#call = callBidi(this.#client.connect.bind(this.#client), { metadata }, signal);
    this.ended = this.#read();
    this.ended.catch(() => undefined);
  }

  /** A session that has said hello. */
  static async connect(address: string, token: string, held: HeldUnit[] = []): Promise<TestAgent> {
    const agent = new TestAgent(address, `Bearer ${token}`);
    await agent.hello(held);
    return agent;
  }

  async hello(held: HeldUnit[] = []): Promise<void> {
    const meta = { version: '1.2.3', commitId: 'c0ffee', podNamespace: 'ns', podName: 'pod', kubernetesVersion: 'v1.36' };
    await this.send({ $case: 'hello', value: { meta, held } });
  }

  async send(message: ConnectRequest['message']): Promise<void> {
    await this.#call.send({ message });
  }

  /** The newest message of a kind that satisfies the condition, waited for. */
  async next<Kind extends keyof Values>(
    kind: Kind,
    condition: (value: Values[Kind]) => boolean = () => true,
  ): Promise<Values[Kind]> {
    const matches = (message: Message): boolean => message.$case === kind && condition(message.value as Values[Kind]);
    return (await eventually(() => this.received.findLast(matches))).value as Values[Kind];
  }

  /** Stops taking messages, as an agent that is busy. */
  pause(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#reading = promise;
    this.#resume = resolve;
  }

  resume(): void {
    this.#resume();
  }

  end(): void {
    this.#call.end();
  }

  [Symbol.dispose](): void {
    this.#call.cancel();
    this.#client.close();
  }

  async #read(): Promise<void> {
    for await (const { message } of this.#call.responses) {
      if (message !== undefined) this.received.push(message);
      await this.#reading;
    }
  }
}

type Message = NonNullable<ConnectResponse['message']>;
type Values = { [Kind in Message['$case']]: Extract<Message, { $case: Kind }>['value'] };

/** What the function returns once it is not undefined. */
export async function eventually<T>(look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const end = performance.now() + TIMEOUT_MS;
  while (true) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error('It did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
