import { createLogger } from '../lib/log.ts';
import { type Part, runStages } from '../lib/stages.ts';
import type { AgentkFlags } from './config/flags.ts';
import { createEngine } from './gitops/engine.ts';
import type { Engine } from './gitops/unit.ts';
import { KubeCluster } from './kube/kube-cluster.ts';
import { loadKubeConfig } from './kube/kube-config.ts';
import { connectToKas, parseKasUrl } from './session/kas-connection.ts';
import { type AgentIdentity, KasSession } from './session/kas-session.ts';
import { StatusReporter } from './session/status-reporter.ts';

/** How long running requests may take to finish when agentk stops. */
const GRACE_MS = 20_000;

const VERSION_TIMEOUT_MS = 2_000;

/**
 * The agent: a session with kas, the engine, and the cluster between them. The session starts first, since kas tells
 * the agent who it is, and stops last, so that the engine's last reports still go out.
 */
export async function runAgentk(flags: AgentkFlags, signal: AbortSignal): Promise<void> {
  const log = createLogger('agentk', flags.logLevel);
  parseKasUrl(flags.kasAddress);
  await using cluster = new KubeCluster({ config: loadKubeConfig(flags), log });
  const reporter = new StatusReporter();
  const identity = Promise.withResolvers<AgentIdentity>();
  const engine = Promise.withResolvers<Engine>();

  const session = new KasSession({
    connect: (callSignal) =>
      connectToKas({ url: flags.kasAddress, tokenFile: flags.tokenFile, caCertFile: flags.caCertFile }, callSignal),
    reporter,
    describe: async (callSignal) => ({
      // Known to built images only.
      commitId: '',
      podNamespace: flags.namespace,
      podName: flags.podName,
      // A cluster that does not answer is no reason to stay away from kas.
      kubernetesVersion: await cluster
        .version(AbortSignal.any([callSignal, AbortSignal.timeout(VERSION_TIMEOUT_MS)]))
        .catch(() => ''),
    }),
    onIdentity: identity.resolve,
    engine: engine.promise,
    log,
  });
  const engineRunner: Part = {
    name: 'engine',
    async run(ready, stageSignal) {
      const created = createEngine({ cluster, reporter, agent: await identity.promise, namespace: flags.namespace, log });
      engine.resolve(created);
      await created.run(ready, stageSignal);
    },
  };
  log.info('agentk starts', { address: flags.kasAddress, namespace: flags.namespace });
  await runStages([[session], [engineRunner]], { graceMs: GRACE_MS }, signal);
  log.info('agentk stopped');
}
