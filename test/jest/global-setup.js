/**
 * Offers control planes to test files over a Unix socket; see test/jest/cluster-broker.ts. Nothing is built or started
 * before the first test file asks, so runs that need no cluster pay nothing.
 */
export default async function globalSetup() {
  const { ClusterBroker } = await import('./cluster-broker.ts');
  const { createOwnedDirectory } = await import('../controlplane/leftovers.ts');
  const broker = new ClusterBroker(await createOwnedDirectory());
  process.env.KAS_TEST_BROKER = await broker.listen();
  globalThis.__kasClusterBroker = broker;
}
