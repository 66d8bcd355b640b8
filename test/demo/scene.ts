import type { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { ApiReader } from '../harness/api-reader.ts';
import type { WorkingCopy } from '../harness/git.ts';
import type { Service } from '../harness/service.ts';
import type { Stack } from '../harness/stack.ts';
import { waitUntil } from '../harness/wait-until.ts';
import type { Story } from './story.ts';

/** Everything the demo's steps act on and look at. */
export interface Scene {
  readonly story: Story;
  readonly stack: Stack;
  /** The agentk of the second agent; a step starts it. */
  readonly staging: Service;
  /** A person's clone of the manifest repository. */
  readonly repository: WorkingCopy;
  /** The API server itself. */
  readonly cluster: ApiReader;
  readonly kubectl: {
    run(...args: string[]): Promise<string>;
    /** `kubectl edit` with a command as the editor. */
    edit(object: string, namespace: string, editor: string): Promise<string>;
  };
  readonly signal: AbortSignal;
}

export const SHOP = {
  frontend: '/apis/apps/v1/namespaces/shop/deployments/frontend',
  orders: '/apis/apps/v1/namespaces/shop/deployments/orders',
  settings: '/api/v1/namespaces/shop/configmaps/settings',
  banner: '/api/v1/namespaces/shop/configmaps/banner',
  autumn: '/apis/shop.example.com/v1/namespaces/shop/coupons/autumn',
  role: '/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/coupon-reader',
  job: '/apis/batch/v1/namespaces/shop-jobs/jobs/migrate-database',
} as const;

/** Waits until the unit "shop" is as wished in kas' answer to RoR. */
export async function unitStatus(
  scene: Scene,
  wish: (unit: UnitStatus) => boolean,
  what: string,
  timeoutMs = 30_000,
): Promise<UnitStatus> {
  const find = async (): Promise<UnitStatus | undefined> => {
    const units = await scene.stack.api.units(scene.signal);
    const unit = units.find(({ unit: name }) => name === 'shop');
    return unit !== undefined && wish(unit) ? unit : undefined;
  };
  return await waitUntil(find, { timeoutMs, intervalMs: 20, what }, scene.signal);
}

export async function inPhase(scene: Scene, phase: Phase, commit: string): Promise<UnitStatus> {
  const what = `kas to say that ${commit.slice(0, 8)} is in phase ${phase}`;
  return await unitStatus(scene, (unit) => unit.phase === phase && unit.desiredCommitId === commit, what);
}
