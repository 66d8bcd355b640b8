import { globRoot, globRoots, selectFiles } from './select-files.ts';

const repository = [
  'a.yaml',
  'b.json',
  '.root.yaml',
  '.gitlab/agents/x/config.yaml',
  'apps/web.yaml',
  'apps/.hidden.yaml',
  'apps/.cache/web.yaml',
  'apps/web/deployment.yaml',
  'apps/web/v2/service.yml',
  'apps (old)/+x!.yaml',
].map((path) => ({ path }));
const select = (...globs: string[]): string[] => selectFiles(globs, repository).files.map(({ path }) => path);

describe('selectFiles', () => {
  it.each([
    ['*.yaml', ['a.yaml', '.root.yaml']],
    ['/*.yaml', ['a.yaml', '.root.yaml']],
    ['a.yaml', ['a.yaml']],
    ['apps/*.yaml', ['apps/web.yaml', 'apps/.hidden.yaml']],
    ['apps/**/*.yaml', ['apps/web.yaml', 'apps/.hidden.yaml', 'apps/web/deployment.yaml']],
    [
      '**/*.{yaml,yml}',
      [
        'a.yaml',
        '.root.yaml',
        'apps/web.yaml',
        'apps/.hidden.yaml',
        'apps/web/deployment.yaml',
        'apps/web/v2/service.yml',
        'apps (old)/+x!.yaml',
      ],
    ],
    ['?.yaml', ['a.yaml']],
    ['[ab].*', ['a.yaml', 'b.json']],
    ['[^a].*', ['b.json']],
    ['[a-c].{yaml,json}', ['a.yaml', 'b.json']],
    ['apps/web/**', ['apps/web/deployment.yaml', 'apps/web/v2/service.yml']],
    ['*/web/*', ['apps/web/deployment.yaml']],
    ['**/service.yml', ['apps/web/v2/service.yml']],
    ['apps (old)/+*!.yaml', ['apps (old)/+x!.yaml']],
    ['apps', []],
    ['APPS/*', []],
    ['!a.yaml', []],
    ['@(a).yaml', []],
    ['.gitlab/**/*.yaml', []],
  ])('chooses by %s', (glob, expected) => {
    expect(select(glob)).toEqual(expected);
  });

  it('takes a file once, however many globs match it', () => {
    expect(select('apps/web.yaml', 'apps/*.yaml', '/apps/web*')).toEqual(['apps/web.yaml', 'apps/.hidden.yaml']);
  });

  it('warns of each glob that matches nothing, with the nearest folder that exists', () => {
    const { unmatched, problems } = selectFiles(['apps/web/v3/*.yaml', 'a.yaml', 'apps/*.txt', 'nowhere/*'], repository);

    expect(unmatched).toEqual(['apps/web/v3/*.yaml', 'apps/*.txt', 'nowhere/*']);
    expect(problems).toEqual([
      {
        severity: 'warning',
        reason: 'GlobMatchesNothing',
        message:
          'the glob "apps/web/v3/*.yaml" matches no file: there is no folder "apps/web/v3"; the nearest that exists is "apps/web"; ' +
          'correct the glob, or commit the files',
      },
      expect.objectContaining({ message: expect.stringContaining('the folder "apps" exists, but no file in it matches') }),
      expect.objectContaining({ message: expect.stringContaining('the nearest that exists is the root') }),
    ]);
  });

  it.each([
    ['', /is empty/],
    ['[a', /has a "\[" without "\]"/],
    ['{a,b', /unbalanced braces/],
    ['*a*a*a*', /more than 3 "\*" between two slashes/],
    ['**/a/**/a/**/a/**/x', /more than 3 "\*\*"/],
    [`${'{a/,a/}'.repeat(30)}x`, /more than 32 alternatives in braces/],
    ['x'.repeat(501), /longer than 500 characters/],
  ])('refuses %j', (glob, message) => {
    expect(selectFiles([glob], repository).problems).toEqual([
      { severity: 'error', reason: 'InvalidGlob', message: expect.stringMatching(message) },
    ]);
  });
});

describe('matching', () => {
  it.each(['*a*a*b', '**/a/**/a/**/a/x', '{a,a}{a,a}{a,a}{a,a}{a,a}b', '{a,b}*{a,b}*c'])(
    'by %s is quick on a path made to be slow',
    (glob) => {
      const paths = ['a'.repeat(255), `${'a/'.repeat(100)}b`].map((path) => ({ path }));
      const started = performance.now();

      expect(selectFiles([glob], paths).files).toEqual([]);
      expect(performance.now() - started).toBeLessThan(10_000);
    },
  );
});

describe('globRoot', () => {
  it.each([
    ['', '.', false],
    ['/', '.', false],
    ['*.yaml', '.', false],
    ['bla/*.yaml', 'bla', false],
    ['/bla/**/*.yaml', 'bla', true],
    ['/[a-z]*/*.yaml', '.', true],
    ['/bla/?aaa/*.yaml', 'bla', true],
    ['a/b/c.yaml', 'a/b', false],
    ['a/{b,c/d}/e.yaml', 'a', true],
    ['a/{b,c/d}.yaml', 'a', true],
    ['**', '.', true],
  ])('of %j is %s, recursive %s', (glob, path, recursive) => {
    expect(globRoot(glob)).toEqual({ path, recursive });
  });
});

describe('globs that name folders', () => {
  const entries = ['a/kustomization.yaml', 'a/b/Kustomization', 'a/b/c.yaml', 'a/d/e.yaml', 'kustomization.yaml'].map((path) => ({
    path,
  }));

  it.each([
    ['a', ['a/kustomization.yaml']],
    ['a/', ['a/kustomization.yaml']],
    ['a/*', ['a/kustomization.yaml', 'a/b/Kustomization']],
    ['a/*/', ['a/b/Kustomization']],
    ['a/*.yaml', ['a/kustomization.yaml']],
    ['a/d', []],
  ])('%s chooses the kustomization files in them', (glob, chosen) => {
    expect(selectFiles([glob], entries).files.map(({ path }) => path)).toEqual(chosen);
  });

  it.each([
    ['a/b.yaml', [{ path: 'a', recursive: false }]],
    ['a/b/', [{ path: 'a/b', recursive: false }]],
    [
      'a/b',
      [
        { path: 'a', recursive: false },
        { path: 'a/b', recursive: false },
      ],
    ],
    [
      'a/*',
      [
        { path: 'a', recursive: false },
        { path: 'a', recursive: true },
      ],
    ],
  ])('%s needs these folders listed', (glob, roots) => {
    expect(globRoots(glob)).toEqual(roots);
  });
});
