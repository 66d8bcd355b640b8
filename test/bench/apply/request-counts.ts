/** Requests that an API server has answered, by `VERB resource`, as `PATCH configmaps` or `PUT deployments/status`. */
export type RequestCounts = ReadonlyMap<string, number>;

/** Reads `apiserver_request_total` of the metrics in the Prometheus text format. Dry-runs count as any other request. */
export function parseRequestCounts(metrics: string): RequestCounts {
  const counts = new Map<string, number>();
  for (const [, labels = '', value] of metrics.matchAll(/^apiserver_request_total\{(.*)\} (\S+)$/gm)) {
    const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
    const subresource = label('subresource');
    const key = `${label('verb')} ${label('resource')}${subresource === '' ? '' : `/${subresource}`}`;
    counts.set(key, (counts.get(key) ?? 0) + Number(value));
  }
  return counts;
}

/** What was counted since `before`; what did not change is left out. */
export function since(before: RequestCounts, after: RequestCounts): RequestCounts {
  const changes = [...after].map(([key, value]) => [key, value - (before.get(key) ?? 0)] as const);
  return new Map(changes.filter(([, value]) => value !== 0));
}

/** Sum of the counts of these verbs over these resources. */
export function total(counts: RequestCounts, verbs: readonly string[], resources: readonly string[]): number {
  let sum = 0;
  for (const verb of verbs) for (const resource of resources) sum += counts.get(`${verb} ${resource}`) ?? 0;
  return sum;
}

/** For people: `3 PATCH configmaps, 1 LIST secrets`. */
export function describeCounts(counts: RequestCounts): string {
  return [...counts].map(([key, value]) => `${value} ${key}`).join(', ');
}
