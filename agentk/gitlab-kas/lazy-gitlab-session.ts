import type { OlderProtocol } from '../session/kas-session.ts';
import type { GitlabSessionDeps } from './gitlab-session.ts';
import type { UnitSettings } from './unit-settings.ts';

export interface LazyGitlabSessionDeps extends Omit<GitlabSessionDeps, 'settings'> {
  /** Undefined: the defaults. */
  readonly settings: UnitSettings | undefined;
}

/**
 * As `GitlabSession`, which is loaded when a kas of GitLab is met and not before: what decodes manifests and checks settings takes some
 * megabytes that an agent of our own kas has no use for.
 */
export function lazyGitlabSession(deps: LazyGitlabSessionDeps): OlderProtocol {
  let loading: Promise<OlderProtocol> | undefined;
  return {
    async run(events, signal) {
      loading ??= load(deps);
      await (await loading).run(events, signal);
    },
  };
}

async function load(deps: LazyGitlabSessionDeps): Promise<OlderProtocol> {
  const { GitlabSession } = await import('./gitlab-session.ts');
  return new GitlabSession({ ...deps, settings: deps.settings ?? (await loadUnitSettings(undefined)) });
}

/** As `readUnitSettings`. */
export async function loadUnitSettings(file: string | undefined): Promise<UnitSettings> {
  const { readUnitSettings } = await import('./unit-settings.ts');
  return await readUnitSettings(file);
}
