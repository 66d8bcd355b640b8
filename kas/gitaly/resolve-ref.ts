import { UserError } from '../../lib/errors.ts';
import type { AdvertisedRefs } from './info-refs.ts';

export interface ResolvedRef {
  /** Full ref name; for a commit that was asked for by its id, that id. */
  readonly name: string;
  readonly commitId: string;
}

const OBJECT_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
const LISTED_AT_MOST = 10;

/**
 * The commit that `ref` (`refs/heads/main`, `refs/tags/v1`, a commit id; undefined is the default branch) stands for.
 * Annotated tags are followed to their commit. A commit id is taken as it is: whether it exists shows when it is read.
 *
 * Undefined when the default branch cannot be told from the advertisement (HEAD names a branch that does not exist):
 * the server has to be asked then. Errors: UserError `EmptyRepository`, `RefNotFound`.
 */
export function resolveRef(advertised: AdvertisedRefs, ref: string | undefined): ResolvedRef | undefined {
  if (ref !== undefined && OBJECT_ID.test(ref)) return { name: ref, commitId: ref };
  const { refs, peeled, headTarget } = advertised;
  if (refs.size === 0)
    throw new UserError('The repository is empty: push a commit to it.', { kind: 'not_found', reason: 'EmptyRepository' });
  const name = ref ?? headTarget ?? (refs.has('HEAD') ? 'HEAD' : undefined);
  if (name === undefined) return undefined;
  const oid = refs.get(name);
  if (oid === undefined) throw refNotFound(name, advertised);
  return { name, commitId: peeled.get(name) ?? oid };
}

/** `RefNotFound`, naming the ref and what the repository has instead. */
export function refNotFound(name: string, advertised: AdvertisedRefs): UserError {
  const kind = name.startsWith('refs/tags/') ? 'tag' : 'branch';
  return new UserError(`${describeRef(name)} does not exist. ${existing(advertised, kind)}`, {
    kind: 'not_found',
    reason: 'RefNotFound',
  });
}

/** `RefNotFound` for a HEAD that names a branch which does not exist. */
export function defaultBranchNotFound(advertised: AdvertisedRefs): UserError {
  const message = `The default branch does not exist. ${existing(advertised, 'branch')} Push it, point HEAD at another one, or name a ref.`;
  return new UserError(message, { kind: 'not_found', reason: 'RefNotFound' });
}

/** For people: `Branch "main"`. */
function describeRef(name: string): string {
  if (name.startsWith('refs/heads/')) return `Branch "${name.slice('refs/heads/'.length)}"`;
  if (name.startsWith('refs/tags/')) return `Tag "${name.slice('refs/tags/'.length)}"`;
  return `Ref "${name}"`;
}

function existing(advertised: AdvertisedRefs, kind: 'branch' | 'tag'): string {
  const prefix = kind === 'tag' ? 'refs/tags/' : 'refs/heads/';
  const names = [...advertised.refs.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const plural = kind === 'tag' ? 'tags' : 'branches';
  if (names.length === 0) return `The repository has no ${plural}.`;
  const more = names.length > LISTED_AT_MOST ? ` and ${names.length - LISTED_AT_MOST} more` : '';
  return `The repository has the ${plural} ${names.slice(0, LISTED_AT_MOST).join(', ')}${more}.`;
}
