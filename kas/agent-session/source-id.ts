import { createHash } from 'node:crypto';
import type { AgentUnit } from './agent-configuration.ts';

/** What decides a unit's content, in short: by it an agent knows whether a bundle is of the newest configuration. */
export function sourceId({ project, ref, globs, defaultNamespace }: AgentUnit): string {
  const key = JSON.stringify([project, ref ?? null, globs, defaultNamespace]);
  return createHash('sha256').update(key).digest('base64url').slice(0, 16);
}
