/** Stops all control planes of the run. When jest dies before it comes here they end by themselves. */
export default async function globalTeardown() {
  await globalThis.__kasClusterBroker?.close();
}
