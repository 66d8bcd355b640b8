import { parseScenario, readScenario, scenarioFiles } from './scenario-file.ts';

const PREFIXES = ['sync', 'drift', 'prune', 'owner', 'fault', 'policy', 'cluster'];
const PLACEHOLDERS = { namespace: 'test-0', agent: '1', other: '2' };

function problemsOf(text: string): string {
  try {
    parseScenario(text, 'x.yaml', PLACEHOLDERS);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
}

describe('A scenario file', () => {
  it.each([
    ['name: x\nsteps:\n  - comit: {}\n', 'x.yaml:3: steps[0].comit: unknown key; did you mean "commit"?'],
    [
      'name: x\nsteps:\n  - commit: {}\n    kill: kas\n',
      'x.yaml:3: steps[0]: needs exactly one of commit, create,.*; give each a step of its own',
    ],
    ['name: x\nsteps:\n  - expect: { phase: Sinced }\n', 'x.yaml:3: steps[0].expect.phase: must be "Pending" or '],
    ['name: x\nsteps:\n  - delete: { object: settings }\n', 'x.yaml:3: steps[0].delete.object: must be an object; write it like'],
    [
      'name: x\nsteps:\n  - patch: { object: Pod a }\n',
      'x.yaml:3: steps[0].patch: needs exactly one of merge, strategic and json',
    ],
    [
      'name: x\nsteps:\n  - expect: { message: "(" }\n',
      'x.yaml:3: steps[0].expect.message: is not a regular expression; correct it',
    ],
    ['name: ${nmespace}\nsteps: []\n', 'x.yaml:1: unknown placeholder ${nmespace}; known are namespace, agent, other'],
    ['steps: []\n', 'x.yaml:1: name: is missing; add it, it is text'],
  ])('that is wrong is refused with line, key and remedy: %j', (text, message) => {
    expect(problemsOf(text)).toMatch(new RegExp(message.replace(/[[\]()$?{}]/g, '\\$&')));
  });

  it('is valid, has a title of its own and a test file that runs it', async () => {
    const files = await scenarioFiles();
    expect(files.filter((file) => !PREFIXES.some((prefix) => file.startsWith(`${prefix}-`)))).toEqual([]);
    const scenarios = await Promise.all(files.map(async (file) => ({ file, ...(await readScenario(file, PLACEHOLDERS)) })));
    const names = scenarios.map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
    // Only the files of this prefix are run on a cluster whose etcd may be set back.
    const own = scenarios.filter(({ cluster }) => cluster === 'own').map(({ file }) => file);
    expect(own).toEqual(files.filter((file) => file.startsWith('cluster-')));
  });
});
