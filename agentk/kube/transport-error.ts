/** A request that got no complete answer. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  /** False only when the server provably did nothing with the request. */
  readonly maybeProcessed: boolean;
  /** The connection stood, and the answer did not come in time. */
  readonly timedOut: boolean;
  /** TLS failed: one side may know certificates of which the other has newer ones. */
  readonly untrusted: boolean;

  constructor(
    message: string,
    options: {
      readonly maybeProcessed: boolean;
      readonly timedOut?: boolean;
      readonly untrusted?: boolean;
      readonly cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.maybeProcessed = options.maybeProcessed;
    this.timedOut = options.timedOut ?? false;
    this.untrusted = options.untrusted ?? false;
  }
}
