import type { FaultProxy } from '../../../test/harness/fault-proxy.ts';
import type { KubeCluster } from '../kube-cluster.ts';
import { configMapBody, OPTIONS, typeOf } from './open-cluster.ts';

const NEVER = new AbortController().signal;
export const MANY = 2_000;

/** Applies 2,000 new ConfigMaps at a time; `after` says what happens when so many of them are done. */
export async function applyMany(
  cluster: KubeCluster,
  namespace: string,
  after: Readonly<Record<number, () => void | Promise<void>>> = {},
): Promise<readonly { readonly uid: string; readonly created: boolean }[]> {
  const type = typeOf(cluster, 'ConfigMap');
  let done = 0;
  return await Promise.all(
    Array.from({ length: MANY }, async (_, index) => {
      const ref = { type, namespace, name: `item-${index}` };
      const body = configMapBody(ref, { value: `${index}` }, { set: 'many' });
      const { object, created } = await cluster.apply(ref, body, OPTIONS, NEVER);
      done += 1;
      await after[done]?.();
      return { uid: object.metadata.uid, created };
    }),
  );
}

/** Each was made by the call that says so, and is there still. */
export async function expectAllThere(
  cluster: KubeCluster,
  namespace: string,
  applied: readonly { readonly uid: string; readonly created: boolean }[],
): Promise<void> {
  const type = typeOf(cluster, 'ConfigMap');
  const live = await cluster.list(type, { namespace, labelSelector: 'set=many' }, NEVER);
  expect(live).toHaveLength(MANY);
  expect(new Set(live.map((object) => object.metadata.uid))).toEqual(new Set(applied.map(({ uid }) => uid)));
  expect(applied.filter(({ created }) => !created)).toEqual([]);
}

/** How many of the applies reached the server. */
export function reached(proxy: FaultProxy, namespace: string): number {
  return proxy.count({ method: 'PATCH', path: new RegExp(`/namespaces/${namespace}/`), passed: true });
}
