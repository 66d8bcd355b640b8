import { UserError } from '../../lib/errors.ts';
import { formatListenAddress, type ListenAddress } from '../../lib/listen-address.ts';

/** Addresses that mean "every interface": nobody can call them. */
const ANY_HOST = new Set(['0.0.0.0', '::']);

/**
 * Where other replicas reach this one, `grpc://host:port` or `grpcs://host:port`: environment variable
 * OWN_PRIVATE_API_URL (GitLab's name); else POD_IP with the port it listens on; else the address it listens on.
 * UserError when none of them names a host.
 */
export function ownPrivateUrl(listen: ListenAddress, tls: boolean, env: NodeJS.ProcessEnv): string {
  const { OWN_PRIVATE_API_URL: given = '', POD_IP: podIp = '' } = env;
  if (given !== '') {
    parsePrivateUrl(given, 'OWN_PRIVATE_API_URL');
    return given;
  }
  const host = podIp === '' ? listen.host : podIp;
  if (podIp === '' && ANY_HOST.has(host))
    throw new UserError(
      `private_api listens on every interface (${formatListenAddress(listen)}), so other replicas cannot be told where; ` +
        'set the environment variable OWN_PRIVATE_API_URL (grpc://host:port) or POD_IP',
      { reason: 'PrivateUrlUnknown' },
    );
  return `${tls ? 'grpcs' : 'grpc'}://${formatListenAddress({ host, port: listen.port })}`;
}

/** UserError, naming `origin`, for what is not `grpc://host:port` or `grpcs://host:port`. */
export function parsePrivateUrl(url: string, origin: string): { readonly target: string; readonly tls: boolean } {
  const [, scheme, target] = /^(grpcs?):\/\/([^/\s]+:\d{1,5})$/.exec(url) ?? [];
  if (scheme === undefined || target === undefined)
    throw new UserError(`${origin} is "${url}"; write it as grpc://host:port, or grpcs://host:port with TLS`, {
      reason: 'InvalidPrivateUrl',
    });
  return { target, tls: scheme === 'grpcs' };
}
