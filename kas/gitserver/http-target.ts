import type { IncomingMessage } from 'node:http';
import { HttpRefusal } from './http-refusal.ts';
import type { GitService } from './refs-advertisement.ts';

/** What a request of a git client is about. */
export interface GitTarget {
  readonly kind: 'refs' | 'rpc';
  readonly service: GitService;
  /** "group/project.git", whether or not the client wrote the ending. */
  readonly relativePath: string;
}

const ENDING = /^\/(.+?)(?:\.git)?\/(info\/refs|git-upload-pack|git-receive-pack)$/;

const SERVICES = new Map<string | null, GitService>([
  ['git-upload-pack', 'upload-pack'],
  ['git-receive-pack', 'receive-pack'],
]);

/** Reads method and address. HttpRefusal 404, 405 or 403 (a client that knows the dumb protocol only). */
export function parseTarget({ method, url }: Pick<IncomingMessage, 'method' | 'url'>): GitTarget {
  const { pathname, searchParams } = parseUrl(url ?? '');
  const [, path, end] = ENDING.exec(pathname) ?? [];
  if (path === undefined || end === undefined) throw new HttpRefusal(404, 'not found');
  const relativePath = `${path}.git`;
  if (end !== 'info/refs') {
    if (method !== 'POST') throw new HttpRefusal(405, 'use POST', { Allow: 'POST' });
    return { kind: 'rpc', service: SERVICES.get(end) ?? 'upload-pack', relativePath };
  }
  if (method !== 'GET' && method !== 'HEAD') throw new HttpRefusal(405, 'use GET', { Allow: 'GET, HEAD' });
  const service = SERVICES.get(searchParams.get('service'));
  if (service === undefined) throw new HttpRefusal(403, 'only the smart HTTP protocol is served');
  return { kind: 'refs', service, relativePath };
}

function parseUrl(url: string): { pathname: string; searchParams: URLSearchParams } {
  const [path = '', query = ''] = url.split('?', 2);
  try {
    return { pathname: decodeURIComponent(path), searchParams: new URLSearchParams(query) };
  } catch {
    throw new HttpRefusal(400, 'the address is malformed');
  }
}
