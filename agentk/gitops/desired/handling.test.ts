import { handlingProblem, readHandling } from './handling.ts';

describe('How an object is to be treated', () => {
  it.each([
    [{}, 'apply', false],
    [{ 'kas.gitops/apply': 'merge' }, 'merge', false],
    [{ 'kas.gitops/apply': 'create-only', 'kas.gitops/recreate': 'allowed' }, 'create-only', true],
    [{ 'kas.gitops/apply': 'ignore' }, 'ignore', false],
    [{ 'kas.gitops/apply': 'apply', 'kustomize.toolkit.fluxcd.io/ssa': 'Ignore' }, 'apply', false],
    [{ 'kustomize.toolkit.fluxcd.io/ssa': 'Merge' }, 'merge', false],
    [{ 'kustomize.toolkit.fluxcd.io/ssa': 'IfNotPresent' }, 'create-only', false],
    [{ 'kustomize.toolkit.fluxcd.io/ssa': 'Ignore' }, 'ignore', false],
    [{ 'kustomize.toolkit.fluxcd.io/reconcile': 'disabled' }, 'ignore', false],
    [{ 'client.lifecycle.config.k8s.io/mutation': 'ignore' }, 'create-only', false],
    [{ 'kustomize.toolkit.fluxcd.io/force': 'enabled' }, 'apply', true],
    [{ 'argocd.argoproj.io/sync-options': 'Prune=false, Force=true' }, 'apply', true],
    [{ 'argocd.argoproj.io/sync-options': 'Replace=true' }, 'apply', false],
    [{ 'kas.gitops/recreate': 'no', 'kustomize.toolkit.fluxcd.io/force': 'enabled' }, 'apply', false],
  ])('is read from %j', (annotations, mode, recreate) => {
    expect(readHandling(annotations as unknown as Record<string, string>)).toEqual({ mode, recreate });
  });

  it('that nobody can make sense of is told', () => {
    expect(handlingProblem({ 'kas.gitops/apply': 'Merge' })).toContain('use apply, merge, create-only or ignore');
    expect(handlingProblem({ 'kas.gitops/recreate': 'true' })).toContain('use allowed');
    expect(handlingProblem({ 'kas.gitops/apply': 'merge', 'kas.gitops/recreate': 'allowed' })).toBe('');
    expect(handlingProblem(undefined)).toBe('');
  });
});
