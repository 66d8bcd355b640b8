import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** What kas counts, in Prometheus' text format. */
export class KasMetrics {
  readonly #registry = new Registry();
  readonly #bundles: Counter<'how'>;
  readonly #bundleBytes: Counter;
  readonly #unknownMessages: Counter;
  readonly #polls: Counter;
  readonly #gitalyCalls: Counter<'method'>;
  readonly #blobs: Counter;
  readonly #renderings: Counter;
  readonly #questions: Counter<'question'>;

  /** `connectedAgents` is asked whenever metrics are read. */
  constructor(connectedAgents: () => number) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: 'kas_connected_agents',
      help: 'Sessions that agents have open with this kas.',
      registers,
      collect() {
        this.set(connectedAgents());
      },
    });
    this.#bundles = new Counter({
      name: 'kas_bundles_sent_total',
      help: 'Bundles sent to agents: whole, as a difference, or a header alone because nothing changed.',
      labelNames: ['how'],
      registers,
    });
    this.#bundleBytes = new Counter({
      name: 'kas_bundle_content_bytes_sent_total',
      help: 'Bytes of manifest content sent to agents.',
      registers,
    });
    this.#unknownMessages = new Counter({
      name: 'kas_agent_unknown_messages_total',
      help: 'Messages from agents that this version does not know.',
      registers,
    });
    this.#polls = new Counter({ name: 'kas_repository_polls_total', help: 'Looks at the refs of a repository.', registers });
    this.#gitalyCalls = new Counter({
      name: 'kas_gitaly_calls_total',
      help: 'Calls to Gitaly servers.',
      labelNames: ['method'],
      registers,
    });
    this.#blobs = new Counter({ name: 'kas_gitaly_blobs_read_total', help: 'Files read from Gitaly servers.', registers });
    this.#renderings = new Counter({
      name: 'kas_units_rendered_total',
      help: 'Renderings of units, without commits that left a unit as it was.',
      registers,
    });
    this.#questions = new Counter({
      name: 'kas_registry_questions_total',
      help: 'Questions to the registry. With GitLab most are answered from a cache.',
      labelNames: ['question'],
      registers,
    });
  }

  called(method: string): void {
    this.#gitalyCalls.inc({ method });
  }

  blobRead(): void {
    this.#blobs.inc();
  }

  rendered(): void {
    this.#renderings.inc();
  }

  asked(question: string): void {
    this.#questions.inc({ question });
  }

  polled(): void {
    this.#polls.inc();
  }

  bundleSent(how: 'whole' | 'difference' | 'unchanged', bytes: number): void {
    this.#bundles.inc({ how });
    this.#bundleBytes.inc(bytes);
  }

  unknownMessage(): void {
    this.#unknownMessages.inc();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}
