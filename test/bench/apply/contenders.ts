import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { WRITES_IN_FLIGHT } from '../../../agentk/kube/adaptive-limit.ts';
import type { ControlPlane } from '../../controlplane/control-plane.ts';
import type { Agent } from './agent.ts';
import type { Api } from './api.ts';
import type { Manifest } from './manifests.ts';

/** Somebody who applies objects: into a namespace of their own that is there and empty. */
export interface Contender {
  /** With its settings, for the table. */
  readonly name: string;
  /** Milliseconds until the last object is applied. */
  readonly apply: (manifests: readonly Manifest[], signal: AbortSignal) => Promise<number>;
}

export interface Contenders {
  readonly ours: Contender;
  readonly raw: Contender;
  /** With as many requests in flight as agentk has: nothing is asked beside it. */
  readonly rawAsOurs: Contender;
  readonly flux: Contender;
  readonly kubectl: Contender;
  readonly argo: Contender;
  /** With its check against the schemas switched off, which nobody else here can do without. */
  readonly argoUnchecked: Contender;
}

/** Requests that the raw client has in flight, as the figures are asked for. */
const IN_FLIGHT = 32;
/** Of Flux' `--concurrent-ssa`; 4 is its default, the only number that its documentation names. */
const FLUX_CONCURRENCY = 4;
/** For agentk to let go of the unit of the round before. */
const CONFIGURED_MS = 1_000;
const MAX_OUTPUT_BYTES = 16 << 20;

/** Paths of the peers' programs. */
export interface Peers {
  readonly flux: string;
  readonly argocd: string;
}

export function contenders(controlPlane: ControlPlane, { flux, argocd }: Peers, api: Api, agent: Agent): Contenders {
  const { directory, kubeconfigPath, kubectlPath } = controlPlane;
  const program = (path: string, ...args: readonly string[]): Contender['apply'] => {
    return async (manifests, runSignal) =>
      await withFile(directory, JSON.stringify(manifests), async (file) => {
        const output = await run(path, [...args, '--kubeconfig', kubeconfigPath, '--objects', file], runSignal);
        return (JSON.parse(output) as { seconds: number }).seconds * 1000;
      });
  };
  const kubectl: Contender['apply'] = async (manifests, runSignal) =>
    await withFile(directory, manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n'), async (file) => {
      const startedAt = performance.now();
      await run(kubectlPath, ['apply', '--server-side', '--kubeconfig', kubeconfigPath, '--filename', file], runSignal);
      return performance.now() - startedAt;
    });
  const raw = (inFlight: number): Contender => ({
    name: `raw, ${inFlight} in flight`,
    apply: async (manifests) => await api.applyRaw(manifests, inFlight),
  });
  let units = 0;
  return {
    ours: {
      name: 'agentk',
      apply: async (manifests, runSignal) => {
        units += 1;
        const unit = `round-${units}`;
        agent.feed.configure([unit]);
        // kas sends the configuration first, too, and the agent says nothing of having taken it.
        await delay(CONFIGURED_MS, undefined, { signal: runSignal });
        const { ms, created } = await agent.apply(unit, manifests, runSignal);
        if (created !== manifests.length) throw new Error(`agentk created ${created} of ${manifests.length} objects`);
        return ms;
      },
    },
    raw: raw(IN_FLIGHT),
    rawAsOurs: raw(WRITES_IN_FLIGHT),
    flux: {
      name: `Flux, ${FLUX_CONCURRENCY} at once, no rate limit`,
      apply: program(flux, '--concurrency', String(FLUX_CONCURRENCY)),
    },
    kubectl: { name: 'kubectl apply --server-side', apply: kubectl },
    argo: { name: 'Argo CD, ServerSideApply, no rate limit', apply: program(argocd, '--server-side') },
    argoUnchecked: { name: 'the same, Validate=false', apply: program(argocd, '--server-side', '--validate=false') },
  };
}

async function run(path: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  return (await promisify(execFile)(path, [...args], { signal, maxBuffer: MAX_OUTPUT_BYTES })).stdout;
}

async function withFile<T>(directory: string, content: string, use: (file: string) => Promise<T>): Promise<T> {
  const file = join(directory, `bench-${randomBytes(6).toString('hex')}`);
  await writeFile(file, content);
  try {
    return await use(file);
  } finally {
    await rm(file);
  }
}
