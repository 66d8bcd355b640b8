import type { IncomingMessage } from 'node:http';
import { isAbort, toError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { LogFields } from '../../lib/log-fields.ts';
import type { Grant } from './access.ts';
import type { Credential } from './credential.ts';
import { INTERNAL_ERROR, type KubernetesStatus, statusOf } from './kubernetes-status.ts';

/** The one line that each request leaves in the log: who, what, and what became of it. Never a token or a query. */
export class Audit {
  readonly #log: Logger;
  readonly #startedAt = performance.now();
  readonly #request: LogFields;
  #caller: LogFields = {};
  #status = 0;
  #revoked = false;

  constructor(log: Logger, { method = '', url = '', headers }: IncomingMessage, isUpgrade: boolean) {
    this.#log = log;
    const protocol = isUpgrade && headers.upgrade !== undefined ? { protocol: headers.upgrade } : {};
    this.#request = { method, path: url.split('?', 1)[0] ?? '', ...protocol };
  }

  /** What the credential says, before it is proved. */
  claims({ agentId, kind }: Credential): void {
    this.#caller = { agentId, kind };
  }

  granted({ subject, impersonation }: Grant): void {
    this.#caller = { ...this.#caller, user: subject, ...(impersonation === undefined ? {} : { as: impersonation.username }) };
  }

  answered(status: number): void {
    this.#status = status;
  }

  /** What the credential gave when the request began it gives no more. */
  revoked(): void {
    this.#revoked = true;
  }

  get hasAnswer(): boolean {
    return this.#status !== 0;
  }

  end(bytes: number): void {
    this.#write({ status: this.#status, bytes });
  }

  /** What to tell the caller, if it is still there and has no answer. */
  failed(error: unknown, gone: AbortSignal): KubernetesStatus {
    const left = !this.#revoked && (gone.aborted || isAbort(error, gone));
    const known = statusOf(error);
    if (known === undefined && !left && !this.hasAnswer)
      this.#log.error('Request to a cluster failed', { ...this.#request, err: error });
    const status = known ?? INTERNAL_ERROR;
    const outcome = this.#revoked ? 'access revoked' : left ? 'caller went away' : this.hasAnswer ? 'cut short' : undefined;
    this.#write({
      status: this.hasAnswer || left ? this.#status : status.code,
      ...(outcome === undefined ? { reason: status.reason } : { outcome }),
      ...(left ? {} : { detail: known === undefined ? toError(error).message : known.message }),
    });
    return status;
  }

  #write(fields: LogFields): void {
    const durationMs = Math.round(performance.now() - this.#startedAt);
    this.#log.info('Request to a cluster', { ...this.#request, ...this.#caller, ...fields, durationMs });
  }
}
