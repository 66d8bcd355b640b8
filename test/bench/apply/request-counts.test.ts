import { describeCounts, parseRequestCounts, since, total } from './request-counts.ts';

const METRICS = `# HELP apiserver_request_total [STABLE] Counter of apiserver requests
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="PATCH",version="v1"} 3
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="configmaps",scope="resource",subresource="",verb="PATCH",version="v1"} 4
apiserver_request_total{code="200",component="apiserver",dry_run="",group="apps",resource="deployments",scope="resource",subresource="status",verb="PUT",version="v1"} 1e+06
apiserver_request_terminations_total{code="200",resource="configmaps",verb="PATCH"} 9
`;

it('adds up requests of one verb and resource, whatever they were answered', () => {
  expect(parseRequestCounts(METRICS)).toEqual(
    new Map([
      ['PATCH configmaps', 7],
      ['PUT deployments/status', 1_000_000],
    ]),
  );
});

it('tells what was counted since an earlier reading', () => {
  const before = parseRequestCounts(METRICS);
  const after = new Map([...before, ['PATCH configmaps', 9], ['LIST secrets', 1]] as const);
  const counts = since(before, after);
  expect(describeCounts(counts)).toBe('2 PATCH configmaps, 1 LIST secrets');
  expect(total(counts, ['PATCH', 'GET'], ['configmaps', 'pods'])).toBe(2);
});
