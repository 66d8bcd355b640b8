import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Offers control planes to test files over a Unix socket; see test/jest/cluster-broker.ts. Nothing is built or started
 * before the first test file asks, so runs that need no cluster pay nothing.
 */
export default async function globalSetup() {
  const { ClusterBroker } = await import('./cluster-broker.ts');
  const directory = await mkdtemp(join(tmpdir(), 'kas-jest-'));
  const broker = new ClusterBroker(directory);
  process.env.KAS_TEST_BROKER = await broker.listen();
  globalThis.__kasClusterBroker = broker;
}
