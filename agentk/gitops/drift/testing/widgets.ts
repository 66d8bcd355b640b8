import type { TestCluster } from '../../../../test/harness/cluster.ts';
import { waitUntil } from '../../../../test/harness/wait-until.ts';
import { RawApi } from './raw-api.ts';
import { widgetDefinition } from './subjects.ts';

/** What tests of live edits work with. */
export interface WidgetTest {
  readonly api: RawApi;
  readonly namespace: string;
}

/** Called at the top of a describe block: Widgets of this group are served for its tests. */
export function useWidgets(cluster: TestCluster, group: string, begin: (fresh: WidgetTest) => void): void {
  let api: RawApi | undefined;

  beforeAll(async () => {
    const opened = new RawApi(cluster.kubeconfigPath);
    api = opened;
    const namespace = await cluster.namespace();
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(widgetDefinition(group)) });
    const widgets = `/apis/${group}/v1/namespaces/${namespace}/widgets`;
    await waitUntil(async () => await opened.get(widgets), { what: 'Widgets to be served', intervalMs: 10 });
    begin({ api: opened, namespace });
  });

  afterAll(async () => {
    api?.[Symbol.dispose]();
    await cluster.kubectl(['delete', 'crd', widgetDefinition(group).metadata.name, '--ignore-not-found']);
  });
}
