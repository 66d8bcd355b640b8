import { type BundleObject, contentDigest, createBundle } from '../../lib/bundle.ts';
import { createLogger, type Logger } from '../../lib/log.ts';
import { DEFAULT_POLICY, type HealthRule } from '../../lib/unit-policy.ts';
import { ApiReader } from '../../test/harness/api-reader.ts';
import type { TestCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { KubeCluster } from '../kube/kube-cluster.ts';
import { loadKubeConfig } from '../kube/kube-config.ts';
import { Applier } from './apply/applier.ts';
import { Catalog } from './apply/catalog.ts';
import { createEngine } from './engine.ts';
import { HealthChecks } from './health/health-checks.ts';
import { LiveState } from './live/live-state.ts';
import { OwnParts } from './prune/own-parts.ts';
import type { EngineParts } from './sync-context.ts';
import type { ClusterEvent, Drift, Engine, Phase, Reporter, SyncState, Unit, UnitBundle } from './unit.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/** Keeps what the engine reports. */
export class Recorder implements Reporter {
  readonly syncs: SyncState[] = [];
  readonly drifts: Drift[] = [];
  readonly events: ClusterEvent[] = [];
  readonly forgotten: string[] = [];

  sync(state: SyncState): void {
    this.syncs.push(state);
  }

  drift(drift: Drift): void {
    this.drifts.push(drift);
  }

  event(event: ClusterEvent): void {
    this.events.push(event);
  }

  forget(unit: string): void {
    this.forgotten.push(unit);
  }

  last(unit: string): SyncState | undefined {
    return this.syncs.findLast((state) => state.unit === unit);
  }
}

export function bundleObject(manifest: Manifest, source = `${manifest.kind.toLowerCase()}.yaml:1`): BundleObject {
  const content = Buffer.from(JSON.stringify(manifest));
  const slash = manifest.apiVersion.indexOf('/');
  const group = slash < 0 ? '' : manifest.apiVersion.slice(0, slash);
  const { name, namespace = '' } = manifest.metadata;
  return { id: { group, kind: manifest.kind, namespace, name }, digest: contentDigest(content), source, content };
}

let commits = 0;

export function unitBundle(unit: string, manifests: readonly Manifest[]): UnitBundle {
  commits += 1;
  const commitId = commits.toString(16).padStart(40, '0');
  const bundle = createBundle(manifests.map((manifest) => bundleObject(manifest)));
  return { unit, project: `group/${unit}`, commitId, bundle, detectedAt: new Date(), incomplete: false };
}

export function unit(name: string, options: Partial<Unit> = {}): Unit {
  return {
    name,
    project: `group/${name}`,
    ...DEFAULT_POLICY,
    reconcileTimeoutMs: 30_000,
    pruneTimeoutMs: 30_000,
    ...options,
  };
}

/** An engine on the real API server, as one agentk process would run it. */
export class TestEngine implements AsyncDisposable {
  readonly recorder = new Recorder();
  readonly engine: Engine;
  readonly cluster: KubeCluster;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: {
    readonly kubeconfig: string;
    readonly agentId: number;
    readonly namespace: string;
    readonly log?: Logger;
    readonly podName?: string;
    readonly handOverMs?: number;
  }) {
    const log = options.log ?? createLogger('test', (process.env['TEST_LOG_LEVEL'] as 'info' | undefined) ?? 'error');
    this.cluster = new KubeCluster({ config: loadKubeConfig({ kubeconfig: options.kubeconfig }), log });
    const agent = { id: options.agentId, name: `agent-${options.agentId}` };
    const { kubeconfig: _kubeconfig, agentId: _agentId, ...rest } = options;
    const engine = createEngine({ ...rest, cluster: this.cluster, reporter: this.recorder, agent, log });
    this.engine = engine;
    this.#running = engine.run(() => undefined, this.#stop.signal);
  }

  configure(...units: readonly Unit[]): void {
    this.configureWith([], ...units);
  }

  configureWith(healthRules: readonly HealthRule[], ...units: readonly Unit[]): void {
    this.engine.configure({ commitId: 'c0ffee00', units, healthRules });
  }

  submit(name: string, manifests: readonly Manifest[], options: Partial<UnitBundle> = {}): UnitBundle {
    const bundle = { ...unitBundle(name, manifests), ...options };
    this.engine.submit(bundle);
    return bundle;
  }

  /** Submits, and waits until the bundle is in one of these phases. */
  async apply(name: string, manifests: readonly Manifest[], ...phases: readonly Phase[]): Promise<SyncState> {
    return await this.until(this.submit(name, manifests), phases.length === 0 ? ['synced'] : phases);
  }

  async until(bundle: UnitBundle, phases: readonly Phase[] = ['synced']): Promise<SyncState> {
    const found = (): SyncState | undefined => {
      const state = this.recorder.last(bundle.unit);
      return state?.commitId === bundle.commitId && state.finishedAt !== undefined && phases.includes(state.phase)
        ? state
        : undefined;
    };
    try {
      return await waitUntil(found, { what: `${bundle.unit} to be ${phases.join(' or ')}`, timeoutMs: 30_000, intervalMs: 2 });
    } catch (error) {
      throw new Error(`last state: ${describe(this.recorder.last(bundle.unit))}`, { cause: error });
    }
  }

  async drift(wish: (drift: Drift) => boolean): Promise<Drift> {
    return await waitUntil(() => this.recorder.drifts.find(wish), { what: 'drift', intervalMs: 2 });
  }

  async stop(): Promise<void> {
    this.#stop.abort(new DOMException('The test is over', 'AbortError'));
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.cluster[Symbol.asyncDispose]();
  }
}

function describe(state: SyncState | undefined): string {
  if (state === undefined) return 'none';
  const objects = state.objects.filter(({ health, reason }) => health !== 'current' || reason !== '');
  const named = objects.map(({ id, action, reason, message, health }) => ({ ...id, action, reason, message, health }));
  return JSON.stringify({ phase: state.phase, reason: state.reason, message: state.message, objects: named.slice(0, 20) });
}

/** Reads apart from the engine's own connections. */
export function reader(cluster: TestCluster): ApiReader {
  return new ApiReader(cluster.kubeconfigPath);
}

/** What one test of an engine works with. */
export interface EngineTest {
  /** Made for the test. */
  readonly namespace: string;
  readonly api: ApiReader;
  /** Of an agent of its own. */
  readonly engine: TestEngine;
}

/** Called at the top of a file: registers hooks that hand every test an engine, and stop it when the test is over. */
export function useEngine(cluster: TestCluster, begin: (fresh: EngineTest) => void): void {
  let given: EngineTest | undefined;
  beforeEach(async () => {
    const namespace = await cluster.namespace();
    const engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId: freshAgentId(), namespace });
    given = { namespace, api: reader(cluster), engine };
    begin(given);
  });
  afterEach(async () => {
    await given?.engine[Symbol.asyncDispose]();
    given?.api[Symbol.dispose]();
    given = undefined;
  });
}

/** Agent ids that no other test file or run uses on a shared cluster. */
export function freshAgentId(): number {
  agents += 1;
  return agents;
}

let agents = Math.floor(Math.random() * 1_000_000_000);

export function configMap(namespace: string, name: string, data: Record<string, string> = { x: '1' }): Manifest {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

export function deployment(namespace: string, name: string, image = 'example.org/app:1', replicas = 1): Manifest {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'app', image, env: [{ name: 'A', value: '1' }] }] },
      },
    },
  };
}

export function crd(group: string, kind: string): Manifest {
  const plural = `${kind.toLowerCase()}s`;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: { spec: { type: 'object', properties: { size: { type: 'integer' } } } },
            },
          },
        },
      ],
    },
  };
}

/** What the engine's steps work with, for tests of a single step. */
export function engineParts(cluster: KubeCluster, agentId: number): EngineParts {
  const log = createLogger('test', 'error');
  const fieldManager = `agentk-${agentId}`;
  const catalog = new Catalog(cluster, Date.now);
  const observer = { seen: () => undefined, lost: () => undefined, restored: () => undefined };
  const live = new LiveState({ cluster, agentId, observer, log });
  const applier = new Applier({ cluster, catalog, live, agentId, fieldManager, conflicts: () => 'force' });
  const ownParts = new OwnParts({ cluster, namespace: 'gitops-agent', podName: '', signal: new AbortController().signal });
  const identity = { agentId, agentName: `agent-${agentId}`, fieldManager };
  const health = new HealthChecks();
  return { cluster, catalog, live, applier, ownParts, health, ...identity, hardStop: new AbortController().signal };
}

/** As `kind name action reason`, sorted, for comparison. */
export function actions(state: SyncState): readonly string[] {
  return state.objects
    .map(({ id, action, reason }) => `${id.kind} ${id.name} ${action}${reason === '' ? '' : ` ${reason}`}`)
    .sort();
}
