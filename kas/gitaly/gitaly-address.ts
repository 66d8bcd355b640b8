import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';

/** `tcp://host:port`, `tls://host:port`, `unix:/path` or `unix:///path`; UserError `InvalidGitalyAddress` for anything else. */
export function parseGitalyAddress(address: string): { target: string; channelCredentials: ChannelCredentials } {
  const [, scheme, rest] = /^(tcp:\/\/|tls:\/\/|unix:(?:\/\/)?)(.+)$/.exec(address) ?? [];
  if (scheme === undefined || rest === undefined)
    throw new UserError(`Gitaly address "${address}" must begin with tcp://, tls:// or unix:.`, {
      reason: 'InvalidGitalyAddress',
    });
  const channelCredentials = scheme === 'tls://' ? credentials.createSsl() : credentials.createInsecure();
  return { target: scheme.startsWith('unix:') ? `unix:${rest}` : `dns:${rest}`, channelCredentials };
}
