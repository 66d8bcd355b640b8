import { createHash } from 'node:crypto';
import { UserError } from '../../lib/errors.ts';
import type { Cluster, ResourceType } from '../kube/cluster.ts';
import type { AgentIdentity } from '../session/kas-session.ts';

const NAMESPACES: ResourceType = {
  group: '',
  version: 'v1',
  kind: 'Namespace',
  resource: 'namespaces',
  namespaced: false,
  verbs: new Set(['get']),
};

/** Ids made here begin above what GitLab counts to, and stay exact as a number. */
const OWN_IDS = 2 ** 40;

export interface IdentityHints {
  /** What kas says, from 13.9 on; 0 otherwise. */
  readonly told: number;
  /** What the person who started agentk says. */
  readonly given: number | undefined;
  /** Namespace and Lease, which tell the agents of a cluster apart. */
  readonly place: string;
}

export interface MadeIdentity extends AgentIdentity {
  /** Nobody told it. */
  readonly made: boolean;
}

/**
 * Who the agent is, where kas does not say: objects are labelled with it, so it must be the same after a restart. Without
 * any hint it is made from the cluster (the uid of kube-system) and the agent's place in it.
 */
export async function agentIdentity(
  { told, given, place }: IdentityHints,
  cluster: Pick<Cluster, 'get'>,
  signal: AbortSignal,
): Promise<MadeIdentity> {
  if (told > 0) return { ...named(told), made: false };
  if (given !== undefined) return { ...named(given), made: false };
  const uid = await clusterUid(cluster, signal);
  const hash = createHash('sha256')
    .update(JSON.stringify([uid, place]))
    .digest();
  return { ...named(OWN_IDS + hash.readUIntBE(0, 5)), made: true };
}

function named(id: number): AgentIdentity {
  return { id, name: `agent-${id}` };
}

async function clusterUid(cluster: Pick<Cluster, 'get'>, signal: AbortSignal): Promise<string> {
  try {
    const { metadata } = await cluster.get({ type: NAMESPACES, namespace: '', name: 'kube-system' }, signal);
    return metadata.uid;
  } catch (error) {
    signal.throwIfAborted();
    throw new UserError(
      `kas does not say the agent's id, and none can be made from the cluster: ${(error as Error).message}; set --agent-id`,
      { reason: 'AgentIdUnknown', kind: 'precondition', cause: error },
    );
  }
}
