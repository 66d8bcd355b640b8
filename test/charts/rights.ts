import type { RecordedRequest } from '../harness/fault-proxy.ts';

/** A rule of a Role or ClusterRole. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const METHODS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

/**
 * What right a request takes, as `verb resource.group`, and in which namespace (empty: none or all), by
 * https://kubernetes.io/docs/reference/access-authn-authz/authorization/. Undefined for what is not about objects.
 */
export function rightOf({
  method,
  path,
  query,
}: Pick<RecordedRequest, 'method' | 'path' | 'query'>): { readonly right: string; readonly namespace: string } | undefined {
  const match = /^\/(?:api\/v1|apis\/([^/]+)\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/))?\/([a-z]+)(?:\/([^/]+))?/.exec(path);
  if (match === null) return undefined;
  const [, group = '', namespace = '', resource = '', name] = match;
  const reading = query.get('watch') === null ? (name === undefined ? 'list' : 'get') : 'watch';
  return { right: `${METHODS[method] ?? reading} ${qualified(resource, group)}`, namespace };
}

/** Every right of the rules, as `verb resource.group`. */
export function rightsOf(rules: readonly Rule[]): ReadonlySet<string> {
  return new Set(
    rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${qualified(resource, group)}`))),
    ),
  );
}

function qualified(resource: string, group: string): string {
  return group === '' ? resource : `${resource}.${group}`;
}
