import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { PollResult } from './poll-queue.ts';

export interface EncodedResult {
  /** The same for results that say the same. */
  readonly digest: string;
  readonly data: Buffer;
}

type Stored =
  | {
      readonly kind: 'refs';
      /** Name, object id, and for an annotated tag what it points to. */
      readonly refs: readonly (readonly [string, string, string?])[];
      readonly headTarget: string | undefined;
      readonly defaultBranch: string | undefined;
    }
  | { readonly kind: 'problem'; readonly problem: SourceProblem; readonly isTransient: boolean };

/** For what several processes share. Keeps the refs that can be followed: HEAD, branches and tags. */
export async function encodeResult(result: PollResult): Promise<EncodedResult> {
  const text = JSON.stringify(toStored(result));
  const data = await promisify(gzip)(text, { level: 1 });
  return { digest: createHash('sha256').update(text).digest('hex'), data };
}

export async function decodeResult(data: Buffer): Promise<PollResult> {
  const stored = JSON.parse((await promisify(gunzip)(data)).toString('utf8')) as Stored;
  if (stored.kind === 'problem') return stored;
  const refs = new Map<string, string>();
  const peeled = new Map<string, string>();
  for (const [name, oid, target] of stored.refs) {
    refs.set(name, oid);
    if (target !== undefined) peeled.set(name, target);
  }
  return { kind: 'refs', refs: { refs, peeled, headTarget: stored.headTarget }, defaultBranch: stored.defaultBranch };
}

function toStored(result: PollResult): Stored {
  if (result.kind === 'problem') return result;
  const { refs, peeled, headTarget } = result.refs;
  const kept = [...refs].filter(([name]) => name === 'HEAD' || name.startsWith('refs/heads/') || name.startsWith('refs/tags/'));
  return {
    kind: 'refs',
    refs: kept.map(([name, oid]) => {
      const target = peeled.get(name);
      return target === undefined ? [name, oid] : [name, oid, target];
    }),
    headTarget,
    defaultBranch: result.defaultBranch,
  };
}
