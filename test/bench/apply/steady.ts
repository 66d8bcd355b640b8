import { sleep } from '../../../lib/abort.ts';
import type { Figure } from '../figure.ts';
import { median } from '../statistics.ts';
import type { Agent } from './agent.ts';
import type { Api } from './api.ts';
import { configMap, type Manifest, RESOURCES } from './manifests.ts';
import { describeCounts, type RequestCounts, since, total } from './request-counts.ts';
import { Sightings } from './sightings.ts';

type Progress = (line: string) => void;

/** Of an object, as opposed to whole kinds; APPLY is a server-side apply. Controllers read by watches and write to subresources. */
const PER_OBJECT = ['GET', 'PATCH', 'PUT', 'POST', 'APPLY', 'DELETE'];
/** Watches are not counted: controllers renew theirs at any time, and the API server counts one when it ends. */
const LISTS = ['LIST', 'WATCHLIST'];
/** For what agentk remembers to be stored, and for requests that nobody should make to show themselves. */
const QUIET_MS = 5_000;
/** ConfigMaps of the agent itself that a restart reads, however many objects there are: its inventory, and what it remembers. */
const OWN = 2;
const SAMPLES = 30;
/** Medians count: the API server itself lists all services every three minutes. */
const ROUNDS_UNCHANGED = 3;
const EDITOR = 'bench-editor';

/** Requests that a commit without changes costs, and those that a restart of the agent costs. */
export async function unchanged(
  name: string,
  unit: string,
  manifests: readonly Manifest[],
  { agent, api, progress }: { readonly agent: Agent; readonly api: Api; readonly progress: Progress },
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  await agent.apply(unit, manifests, signal);
  const again: number[] = [];
  for (let round = 0; round < ROUNDS_UNCHANGED; round += 1) {
    const counts = await requestsDuring(api, signal, async () => void (await agent.apply(unit, manifests, signal)));
    progress(`${name}, again: ${describeCounts(counts)}`);
    again.push(total(counts, [...PER_OBJECT, ...LISTS], RESOURCES));
  }
  const restart = await requestsDuring(api, signal, async () => {
    await agent.restart();
    await agent.feed.settled(unit, signal);
  });
  progress(`${name}, restart: ${describeCounts(restart)}`);
  const places = new Set(manifests.map(({ kind, metadata }) => `${kind} ${metadata.namespace}`)).size;
  return [
    {
      workload: `${name}, nothing changed`,
      unit: 'requests',
      better: 'less',
      ours: median(again),
      target: { atMost: 0 },
    },
    {
      workload: `${name}, agentk restarted`,
      unit: 'requests for single objects',
      better: 'less',
      ours: total(restart, PER_OBJECT, RESOURCES),
      target: { atMost: OWN },
    },
    {
      workload: `${name}, agentk restarted`,
      unit: 'lists',
      better: 'less',
      ours: total(restart, LISTS, RESOURCES),
      target: { atMost: places + OWN },
    },
  ];
}

/** How soon a changed object is live, and what that costs. */
export async function oneChanged(
  unit: string,
  manifests: readonly Manifest[],
  { agent, api, progress }: { readonly agent: Agent; readonly api: Api; readonly progress: Progress },
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  await agent.apply(unit, manifests, signal);
  const namespace = manifests[0]?.metadata.namespace ?? '';
  await using sightings = await Sightings.open(api, `/api/v1/namespaces/${namespace}/configmaps`);
  const changed = [...manifests];
  const latencies: number[] = [];
  const counts = await requestsDuring(api, signal, async () => {
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const index = (sample * 61) % manifests.length;
      const { name } = (manifests[index] as Manifest).metadata;
      const revision = `changed-${sample}`;
      changed[index] = configMap(namespace, name, revision);
      const live = sightings.first(({ metadata, data }) => metadata.name === name && data?.['revision'] === revision, signal);
      const { sentAt } = await agent.submit(unit, changed);
      latencies.push((await live) - sentAt);
      await agent.feed.settled(unit, signal);
    }
  });
  progress(`1 of ${manifests.length} changed, ${SAMPLES} times: ${describeCounts(counts)}`);
  const workload = `1 of ${manifests.length.toLocaleString('en')} ConfigMaps changed`;
  const requests = total(counts, [...PER_OBJECT, ...LISTS], RESOURCES) / SAMPLES;
  return [
    { workload, unit: 'ms until live, p50', better: 'less', ours: median(latencies), target: { atMost: 100 } },
    { workload, unit: 'requests', better: 'less', ours: requests, target: { atMost: 3 } },
  ];
}

/** How soon an edit of a field that Git sets is noticed, and undone. */
export async function liveEdits(
  unit: string,
  manifests: readonly Manifest[],
  { agent, api }: { readonly agent: Agent; readonly api: Api },
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  await agent.apply(unit, manifests, signal);
  const namespace = manifests[0]?.metadata.namespace ?? '';
  const collection = `/api/v1/namespaces/${namespace}/configmaps`;
  await using sightings = await Sightings.open(api, collection);
  const seen: number[] = [];
  const corrected: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const { name } = (manifests[(sample * 61) % manifests.length] as Manifest).metadata;
    const revision = `edited-${sample}`;
    let edited = false;
    const restored = sightings.first(({ metadata, data }) => {
      if (metadata.name !== name) return false;
      edited ||= data?.['revision'] === revision;
      return edited && data?.['revision'] !== revision;
    }, signal);
    const editedAt = Date.now();
    const body = JSON.stringify({ data: { revision } });
    await api.request('PATCH', `${collection}/${name}?fieldManager=${EDITOR}`, body, 'application/merge-patch+json');
    corrected.push((await restored) - editedAt);
    const drift = await agent.feed.until(
      () => agent.feed.drifts.find(({ id, detectedAt }) => id.name === name && (detectedAt?.getTime() ?? 0) >= editedAt),
      signal,
    );
    seen.push((drift.detectedAt?.getTime() ?? Number.NaN) - editedAt);
  }
  const workload = 'live edit of an owned field';
  return [
    { workload, unit: 'ms until seen, p50', better: 'less', ours: median(seen), target: { atMost: 50 } },
    { workload, unit: 'ms until corrected, p50', better: 'less', ours: median(corrected), target: { atMost: 100 } },
  ];
}

async function requestsDuring(api: Api, signal: AbortSignal, work: () => Promise<void>): Promise<RequestCounts> {
  // What the work before asked for may still be on its way.
  await sleep(QUIET_MS, signal);
  const before = await api.requestCounts();
  await work();
  await sleep(QUIET_MS, signal);
  return since(before, await api.requestCounts());
}
