import { readFile } from 'node:fs/promises';
import { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { signJwt } from '../../lib/jwt.ts';
import { readApiSecret } from '../api-server/api-auth.ts';
import { type OptionValues, required } from './command-line.ts';

/** Options of every command that asks kas' API. */
export const API_OPTIONS = { api: 'string', 'secret-file': 'string', 'ca-file': 'string' } as const;
export const API_USAGE = '--api ADDRESS --secret-file FILE [--ca-file FILE]';

export interface ApiAccess {
  /** `host:port` */
  readonly address: string;
  readonly credentials: ChannelCredentials;
  readonly metadata: Metadata;
}

/**
 * What it takes to call kas' API: TLS to `grpcs://`, with the CAs of the system or those of the CA file; plain text
 * otherwise. UserError when an option is missing or a file cannot be used.
 */
export async function apiAccess(values: OptionValues, issuer: string, usage: string): Promise<ApiAccess> {
  const url = required(values, 'api', usage);
  const secret = await readApiSecret(required(values, 'secret-file', usage));
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await signJwt(secret, { issuer })}`);
  return { address: url.replace(/^grpcs?:\/\//, ''), credentials: await channelCredentials(url, values['ca-file']), metadata };
}

/** A failed call, with the address that was called. */
export function apiError(address: string, error: unknown): UserError {
  return new UserError(`${address}: ${(error as Error).message}`, { cause: error });
}

async function channelCredentials(url: string, caFile: string | boolean | undefined): Promise<ChannelCredentials> {
  if (typeof caFile !== 'string')
    return url.startsWith('grpcs://') ? ChannelCredentials.createSsl() : ChannelCredentials.createInsecure();
  try {
    return ChannelCredentials.createSsl(await readFile(caFile));
  } catch (error) {
    throw new UserError(`Cannot use the CA file ${caFile}: ${(error as Error).message}`, { cause: error });
  }
}
