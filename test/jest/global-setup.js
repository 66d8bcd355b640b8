import { join } from 'node:path';

/**
 * Offers control planes to test files over a Unix socket; see test/jest/cluster-broker.ts. Nothing is built or started
 * before the first test file asks, so runs that need no cluster pay nothing.
 *
 * The programs that tests start again and again are compiled once for all of a run, which is half of what a start costs.
 */
export default async function globalSetup() {
  const { ClusterBroker } = await import('./cluster-broker.ts');
  const { createOwnedDirectory } = await import('../controlplane/leftovers.ts');
  const directory = await createOwnedDirectory();
  const broker = new ClusterBroker(directory);
  process.env.NODE_COMPILE_CACHE ??= join(directory, 'compiled');
  process.env.KAS_TEST_BROKER = await broker.listen();
  globalThis.__kasClusterBroker = broker;
}
