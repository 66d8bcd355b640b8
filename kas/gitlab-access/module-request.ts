import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { UserError } from '../../lib/errors.ts';
import type { Request_Headers, Values } from '../../proto/gen/gitlab/agent/gitlab_access/rpc.ts';

/** A request of an agent to a module of GitLab, checked. */
export interface ModuleRequest {
  readonly method: string;
  /** `<module>/<path>` */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: OutgoingHttpHeaders;
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
/** What an agent may say of its request. Credentials and what is between kas and GitLab are kas' own. */
const REQUEST_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'content-encoding',
  'content-type',
  'if-match',
  'if-modified-since',
  'if-none-match',
]);
/** RFC 9110 section 7.6.1, and what would set cookies for a host that the agent does not see. */
const HELD_BACK: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * UserError `invalid` for what is no request, `forbidden` for a path that is not below one of those allowed
 * (`cilium_alert`, `remote_development/reconcile`).
 */
export function toModuleRequest(message: Request_Headers, allowedPaths: readonly string[]): ModuleRequest {
  const { moduleName, method, urlPath, query } = message;
  const verb = method.toUpperCase();
  if (!METHODS.has(verb)) throw new UserError('method is none of GET, HEAD, POST, PUT, PATCH and DELETE');
  if (!/^[\w-]+$/.test(moduleName)) throw new UserError('module_name must be letters, digits, "_" and "-"');
  if (!urlPath.startsWith('/')) throw new UserError('url_path must begin with "/"');
  const path = moduleName + urlPath;
  // Nothing that a URL parser or a server behind it could read as a way out of the module.
  const isPlain = /^[\w./~-]+$/.test(path) && !path.split('/').some((segment) => segment === '.' || segment === '..');
  if (!isPlain) throw new UserError('url_path has characters or segments that are not allowed');
  if (!allowedPaths.some((allowed) => path === allowed || path.startsWith(`${allowed}/`)))
    throw new UserError(`requests to ${path} are not allowed; kas' setting gitlab.allowed_module_paths names those that are`, {
      kind: 'forbidden',
      reason: 'ModulePathNotAllowed',
    });
  return { method: verb, path, query: toQuery(query), headers: toHeaders(message.headers) };
}

function toQuery(query: Readonly<Record<string, Values>>): URLSearchParams {
  const all = new URLSearchParams();
  for (const [key, { value }] of Object.entries(query)) for (const one of value) all.append(key, one);
  return all;
}

function toHeaders(headers: Readonly<Record<string, Values>>): OutgoingHttpHeaders {
  const kept: OutgoingHttpHeaders = {};
  for (const [key, { value }] of Object.entries(headers)) {
    const name = key.toLowerCase();
    if (REQUEST_HEADERS.has(name) && value.every((one) => /^[\t\x20-\x7e]*$/.test(one))) kept[name] = value.join(', ');
  }
  return kept;
}

/** The headers of an answer as the agent gets them, with Go's spelling of their names. */
export function fromHeaders(headers: IncomingHttpHeaders): Record<string, Values> {
  const kept: Record<string, Values> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || HELD_BACK.has(name)) continue;
    kept[name.replaceAll(/(?:^|-)[a-z]/g, (text) => text.toUpperCase())] = { value: [value].flat() };
  }
  return kept;
}
