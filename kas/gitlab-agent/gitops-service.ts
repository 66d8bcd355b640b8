import { newestIn } from '../../lib/broadcast.ts';
import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import { Latest } from '../../lib/latest.ts';
import type {
  GitopsServer,
  ObjectsToSynchronizeRequest,
  ObjectsToSynchronizeResponse,
} from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import type { AgentUnit, ConfigurationSnapshot, ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { UnitBundle } from '../agent-session/bundle-stream.ts';
import type { SessionMetrics, SessionReports } from '../agent-session/session-reports.ts';
import type { AgentAuthenticator } from '../agent-session/session-service.ts';
import { UnitFeeds } from '../agent-session/unit-feeds.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { UnitSource } from '../units/unit-source.ts';
import { type CallLife, type LiveCall, liveCall } from './call-life.ts';
import { objectsOf, unitsFor138 } from './messages.ts';

export interface GitopsServiceDeps extends CallLife {
  readonly authenticator: AgentAuthenticator;
  readonly configurations: ConfigurationSource;
  readonly units: UnitSource;
  readonly reports: SessionReports;
  readonly metrics: Pick<SessionMetrics, 'bundleSent'>;
  readonly maxPaths: number;
}

interface Sent {
  readonly commitId: string;
  readonly digest: string;
}

/** What was sent last is remembered for so many projects of agents. */
const REMEMBERED = 10_000;

/** gitlab.agent.gitops.rpc.Gitops, for agents of GitLab 13.8: the objects of a project at its next commit. */
export function createGitopsService(handlers: Handlers, deps: GitopsServiceDeps): GitopsServer {
  const sent = new Map<string, Sent>();

  async function* getObjectsToSynchronize(
    request: ObjectsToSynchronizeRequest,
    context: CallContext,
  ): AsyncGenerator<ObjectsToSynchronizeResponse, void, void> {
    const { agent, token } = await deps.authenticator.authenticate(context.metadata, context.signal);
    validate(request, deps.maxPaths);
    using call = liveCall(deps, agent, token, context.signal);
    const place = JSON.stringify([agent.id, request.projectId]);
    const before = sent.get(place);
    const held = before?.commitId === request.commitId ? before.digest : undefined;
    const bundle = await nextBundle(deps, { agent, token, request, held }, call);
    call.throwIfFailed();
    if (bundle === undefined) return;
    yield* objectsOf(bundle);
    const bytes = bundle.bundle.objects.reduce((sum, { content }) => sum + content.length, 0);
    deps.metrics.bundleSent('whole', bytes);
    sent.delete(place);
    sent.set(place, { commitId: bundle.commitId, digest: bundle.bundle.digest });
    for (const oldest of sent.keys()) if (sent.size > REMEMBERED) sent.delete(oldest);
    deps.log.info('Objects sent to an agent of GitLab 13.8', {
      agent: agent.name,
      project: request.projectId,
      commit: bundle.commitId,
      objects: bundle.bundle.objects.length,
    });
    await deps.reports.sync(agent, notReported(bundle));
  }
  return { getObjectsToSynchronize: handlers.serverStreaming(getObjectsToSynchronize) };
}

function validate({ projectId, paths }: ObjectsToSynchronizeRequest, maxPaths: number): void {
  if (projectId === '') throw new UserError('project_id is empty; name the project by its full path');
  if (paths.length === 0) throw new UserError('paths is empty; name a glob');
  if (paths.some(({ glob }) => glob === '')) throw new UserError('a glob of paths is empty; write a glob');
  if (paths.length > maxPaths)
    throw new UserError(`maximum number of GitOps paths per manifest project is ${maxPaths}, but ${paths.length} was requested`);
}

interface Wanted {
  readonly agent: AgentInfo;
  readonly token: string;
  readonly request: ObjectsToSynchronizeRequest;
  /** Digest of what the agent holds, as far as it is known. */
  readonly held: string | undefined;
}

/** The first bundle that the agent does not have; undefined when the call ends before there is one. */
async function nextBundle(deps: GitopsServiceDeps, wanted: Wanted, call: LiveCall): Promise<UnitBundle | undefined> {
  const { registry, units, reports, configurations } = deps;
  const { agent, token, request, held } = wanted;
  const bundles = new Latest<UnitBundle>();
  let fault: { readonly error: unknown } | undefined;
  const onFault = (error: unknown): void => {
    fault = { error };
    bundles.close();
  };
  call.signal.addEventListener('abort', () => bundles.close(), { once: true });
  if (call.signal.aborted) return undefined;
  const onBundle = (bundle: UnitBundle): void => bundles.set(bundle);
  const feeds = new UnitFeeds({ registry, units, reports, agent, token, onBundle, onFault }, call.signal);
  const following = (async (): Promise<void> => {
    const snapshots = newestIn<ConfigurationSnapshot>((one) => configurations.subscribe(token, agent, one), call.signal);
    for await (const { configuration } of snapshots) feeds.configure(unitFor(configuration?.units ?? [], request));
  })().catch(onFault);
  try {
    for await (const bundle of bundles) {
      if (bundle.commitId !== request.commitId && bundle.bundle.digest !== held) return bundle;
    }
    if (fault !== undefined && !call.signal.aborted) throw fault.error;
    return undefined;
  } finally {
    call[Symbol.dispose]();
    await Promise.all([following, feeds.stopped()]);
  }
}

/** The agent's unit with this project, with the globs that the agent asks for. */
function unitFor(units: readonly AgentUnit[], { projectId, paths }: ObjectsToSynchronizeRequest): readonly AgentUnit[] {
  const globs = paths.map(({ glob }) => glob);
  return unitsFor138(units).flatMap((unit) => (unit.project === projectId ? [{ ...unit, globs }] : []));
}

/** Such an agent says nothing of what becomes of the objects. */
function notReported({ unit, commitId, bundle }: UnitBundle): Parameters<SessionReports['sync']>[1] {
  return {
    unit,
    commitId,
    bundleDigest: bundle.digest,
    phase: 'progressing',
    reason: 'NotReported',
    message: 'The agent has been sent this commit; an agent of GitLab 13.8 does not report what became of it',
    startedAt: new Date(),
    finishedAt: undefined,
    objects: undefined,
  };
}
