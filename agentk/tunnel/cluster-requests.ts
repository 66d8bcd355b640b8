import { validateHeaderName, validateHeaderValue } from 'node:http';
import { AbortScope } from '../../lib/abort.ts';
import { type ApiAccess, copyIdentity } from '../../lib/api-access.ts';
import { toError, UnavailableError, UserError, type UserErrorKind } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { LogFields } from '../../lib/log-fields.ts';
import {
  type ClusterRequest,
  ClusterRequestsService as definition,
  type SendResponse,
} from '../../proto/gen/kas/agent/v1/cluster_requests.ts';
import { CallerKind, type HttpRequest, type Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { AgentCall, AgentService } from '../services/agent-service.ts';
import { asksForImpersonation } from './http-messages.ts';
import type { HttpServices } from './http-services.ts';
import { Refusal } from './incoming-request.ts';
import type { KubernetesRequests } from './kubernetes-requests.ts';
import { MessageExchange } from './message-exchange.ts';

export interface ClusterRequestsDeps {
  readonly kubernetes: Pick<KubernetesRequests, 'serve'>;
  readonly httpServices: Pick<HttpServices, 'serve'>;
  /** What the agent's configuration says now. */
  readonly access: () => ApiAccess;
  readonly log: Logger;
}

/** `kas.agent.v1.ClusterRequests`: HTTP requests into the cluster for callers of kas' API. */
export function clusterRequestsService(deps: ClusterRequestsDeps): AgentService {
  return { definition, handlers: { send: (requests, call) => send(deps, requests, call) } };
}

async function* send(
  deps: ClusterRequestsDeps,
  requests: AsyncIterable<unknown>,
  call: AgentCall,
): AsyncGenerator<SendResponse, void, void> {
  using scope = new AbortScope(call.signal);
  const exchange = new MessageExchange(requests, scope.signal);
  const head = await exchange.head();
  void serve(deps, head, exchange).then(
    () => exchange.close(),
    (error: unknown) => exchange.close(toError(error)),
  );
  yield* exchange.responses();
}

/** Each request leaves one line in the log, whatever becomes of it: kas passes it on unread. */
async function serve(deps: ClusterRequestsDeps, request: ClusterRequest, exchange: MessageExchange): Promise<void> {
  const startedAt = performance.now();
  const fields = fieldsOf(request);
  let outcome: LogFields = {};
  try {
    const { http, target } = checked(request);
    if (target?.$case === 'service') {
      const caller = CallerKind.CALLER_KIND_API;
      await deps.httpServices.serve({ http, service: target.value, caller }, exchange);
    } else {
      const impersonation = identityOf(deps.access(), target?.value.impersonation);
      await deps.kubernetes.serve({ http, impersonation }, exchange);
    }
  } catch (error) {
    const left = exchange.signal.aborted;
    const failure = exchange.fault ?? (error instanceof Refusal ? toFailure(error) : toError(error));
    outcome = left ? { outcome: 'caller went away' } : { detail: failure.message };
    throw failure;
  } finally {
    const durationMs = Math.round(performance.now() - startedAt);
    deps.log.info("Request of a caller of kas' API", { ...fields, ...outcome, durationMs });
  }
}

function fieldsOf({ http, target }: ClusterRequest): LogFields {
  const path = http?.path.split('?', 1)[0] ?? '';
  const place = target?.$case === 'service' ? { service: target.value } : {};
  const as = target?.$case === 'kubernetes' ? target.value.impersonation?.username : undefined;
  return { method: http?.method ?? '', path, ...place, ...(as === undefined ? {} : { as }) };
}

/** What no HTTP server would send on to us: nothing of it may be read in another way where it arrives. */
function checked({ http, target }: ClusterRequest): { readonly http: HttpRequest; readonly target: ClusterRequest['target'] } {
  if (http === undefined || target === undefined) throw new UserError('the head needs http and a target');
  if (!/^[A-Z]{1,20}$/.test(http.method)) throw new UserError('http.method must be a method of HTTP, in upper case');
  if (!/^\/[\x21-\x7e]*$/.test(http.path) || http.path.includes('#'))
    throw new UserError('http.path must begin with "/" and be encoded');
  if (!/^[\w./-]*$/.test(http.upgrade)) throw new UserError('http.upgrade must be the name of a protocol');
  for (const { name, value } of http.headers) {
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (error) {
      throw new UserError('http.headers has a name or a value that no header may have', { cause: error });
    }
  }
  if (asksForImpersonation(Object.fromEntries(http.headers.map(({ name, value }) => [name.toLowerCase(), value]))))
    throw new UserError('name whom the request is made as in kubernetes.impersonation, not by headers');
  return { http, target };
}

function identityOf(access: ApiAccess, asked: Impersonation | undefined): Impersonation | undefined {
  if (asked?.username === '') throw new UserError('kubernetes.impersonation needs a username');
  switch (access.type) {
    case 'agent':
      return asked;
    case 'caller':
      if (asked === undefined) throw new UserError("the agent's configuration wants kubernetes.impersonation to name a user");
      return asked;
    case 'impersonate': {
      if (asked !== undefined)
        throw new UserError("nested impersonation is not supported: the agent's configuration says whom requests are made as");
      return copyIdentity(access.identity);
    }
    case 'none':
      throw new UserError(
        "the agent's configuration does not let callers of kas' API make requests to the Kubernetes API; say in api_access as whom",
        { kind: 'forbidden', reason: 'ApiAccessNotConfigured' },
      );
  }
}

const KINDS: Readonly<Record<number, UserErrorKind>> = {
  400: 'invalid',
  403: 'forbidden',
  404: 'not_found',
  405: 'unimplemented',
};

function toFailure({ status, reason, message }: Refusal): Error {
  const kind = KINDS[status];
  if (kind === undefined) return new UnavailableError(message);
  return new UserError(message, { kind, ...(reason === '' ? {} : { reason }) });
}
