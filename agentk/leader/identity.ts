import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';

export interface PodIdentity {
  readonly name: string;
  readonly uid: string;
}

/**
 * Who holds a lease. A container that is started again in the same pod is the same holder: the kubelet starts it only when
 * the one before is dead, so it goes on at once. Without the uid that is not certain, and each process is another.
 */
export function leaseIdentity(pod: PodIdentity): string {
  if (pod.name !== '' && pod.uid !== '') return `${pod.name}_${pod.uid}`;
  return `${pod.name === '' ? hostname() : pod.name}_${randomBytes(8).toString('hex')}`;
}

/**
 * The same for all replicas of an agent, another for another agent: tells a person why one waits for the other. Tokens are
 * random, so nothing can be learned from it. Empty where the file cannot be read; the session with kas tells of that.
 */
export async function tokenFingerprint(tokenFile: string): Promise<string> {
  const token = await readFile(tokenFile, 'utf8').catch(() => '');
  return token === '' ? '' : createHash('sha256').update(`lease:${token.trim()}`).digest('hex').slice(0, 16);
}
