/** An object by which controllers name the objects they make. */
export interface NamedOwner {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

/** What generated names are made of: no vowels and no look-alikes (k8s.io/apimachinery/pkg/util/rand). */
const letter = '[bcdfghjklmnpqrstvwxz2456789]';
/** Ends the name of every generated pod. */
const suffix = `${letter}{5}`;
/** Hash of a pod template: a 32-bit number in decimal, each digit as one letter. Short ones are too rare to be guessed at. */
const templateHash = `${letter}{8,10}`;

interface NameRule {
  readonly child: string;
  readonly pattern: RegExp;
  readonly owner: { readonly group: string; readonly kind: string };
}

function rule(child: string, ending: string, group: string, kind: string): NameRule {
  return { child, pattern: new RegExp(`^(.+)-${ending}$`), owner: { group, kind } };
}

const rules: readonly NameRule[] = [
  rule('ReplicaSet.apps', templateHash, 'apps', 'Deployment'),
  // The number is the minute for which the CronJob has made it.
  rule('Job.batch', '\\d{8}', 'batch', 'CronJob'),
  rule('Pod.', `${templateHash}-${suffix}`, 'apps', 'Deployment'),
  rule('Pod.', suffix, 'apps', 'ReplicaSet'),
  rule('Pod.', suffix, 'apps', 'DaemonSet'),
  rule('Pod.', '\\d+', 'apps', 'StatefulSet'),
  rule('Pod.', suffix, 'batch', 'Job'),
  // Of an indexed Job.
  rule('Pod.', `\\d+-${suffix}`, 'batch', 'Job'),
  rule('Pod.', `\\d{8}-${suffix}`, 'batch', 'CronJob'),
];

/**
 * Who may have made an object, judged by its name alone: the owners it would have if a controller had named it. Names of
 * more than 58 characters before the suffix are cut by the API server and yield nothing.
 */
export function possibleOwners(group: string, kind: string, name: string): readonly NamedOwner[] {
  const owners: NamedOwner[] = [];
  for (const { child, pattern, owner } of rules) {
    const ownerName = child === `${kind}.${group}` ? pattern.exec(name)?.[1] : undefined;
    if (ownerName !== undefined) owners.push({ ...owner, name: ownerName });
  }
  return owners;
}
