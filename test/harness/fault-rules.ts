/** A request as a proxy saw it. */
export interface SeenRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/** What is absent matches everything. */
export interface RequestMatch {
  readonly method?: string;
  /** Without the query: the whole of it, or an expression. */
  readonly path?: string | RegExp;
  /** Parameters that must be there, each with its whole value or an expression. */
  readonly query?: Readonly<Record<string, string | RegExp>>;
  /** Headers that must be there, by lower-case names. */
  readonly headers?: Readonly<Record<string, string | RegExp>>;
  /** A part of the request's body, or an expression. */
  readonly body?: string | RegExp;
}

export interface FaultAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What happens to a request instead of, or before, its being passed on. */
export type Fault =
  /** It never reaches the server. */
  | { readonly answer: FaultAnswer }
  /** Its stream is refused (HTTP/2 REFUSED_STREAM): the server has provably not looked at it. */
  | { readonly refuse: true }
  /** Its connection breaks, with all that runs on it: before the server gets the request, or when it has answered. */
  | { readonly cut: 'before' | 'after' }
  /** It is passed on, and its connection says GOAWAY: it takes no further requests and closes when the last has ended. */
  | { readonly goaway: true }
  /** It is passed on so much later. */
  | { readonly delayMs: number }
  /** It is passed on when the rule is removed. */
  | { readonly hold: true };

/** A fault in place. Requests meet the first rule that matches them, in the order of their making. */
export class FaultRule implements Disposable {
  readonly fault: Fault;
  /** Resolves when the rule is gone. */
  readonly removed: Promise<void>;
  readonly #match: RequestMatch;
  readonly #times: number;
  readonly #onRemove: () => void;
  #hits = 0;

  constructor(match: RequestMatch, fault: Fault, times: number, onRemove: (rule: FaultRule) => void) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.fault = fault;
    this.removed = promise;
    this.#match = match;
    this.#times = times;
    this.#onRemove = () => {
      onRemove(this);
      resolve();
    };
  }

  /** How many requests it has met. */
  get hits(): number {
    return this.#hits;
  }

  /** Whether the request meets this rule, which is then one hit. */
  takes(request: SeenRequest): boolean {
    if (this.#hits >= this.#times || !matches(this.#match, request)) return false;
    this.#hits += 1;
    return true;
  }

  remove(): void {
    this.#onRemove();
  }

  [Symbol.dispose](): void {
    this.remove();
  }
}

export function matches(match: RequestMatch, { method, path, query, headers, body }: SeenRequest): boolean {
  return (
    (match.method === undefined || match.method === method) &&
    (match.path === undefined || is(match.path, path)) &&
    (match.body === undefined || (typeof match.body === 'string' ? body.includes(match.body) : match.body.test(body))) &&
    Object.entries(match.query ?? {}).every(([name, wanted]) => query.getAll(name).some((value) => is(wanted, value))) &&
    Object.entries(match.headers ?? {}).every(([name, wanted]) => [headers[name] ?? []].flat().some((value) => is(wanted, value)))
  );
}

function is(wanted: string | RegExp, value: string): boolean {
  return typeof wanted === 'string' ? wanted === value : wanted.test(value);
}

/** A refusal as the API server words it (a Status). `fields` go into it: `details` for example. */
export function refusal(status: number, reason: string, message: string, fields: Record<string, unknown> = {}): Fault {
  const body = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: status, reason, message, ...fields };
  return { answer: { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } };
}

/** An answer that is no Status, as from a proxy or an aggregated server that is away. */
export function textAnswer(status: number, body: string, headers: Readonly<Record<string, string>> = {}): Fault {
  return { answer: { status, headers: { 'content-type': 'text/plain', ...headers }, body } };
}

/** What Priority & Fairness answers when a queue is full. */
export function tooManyRequests(retryAfterSeconds: number): Fault {
  return textAnswer(429, 'Too many requests, please try again later.', { 'retry-after': String(retryAfterSeconds) });
}
