import fc from 'fast-check';
import { type BuildResult, Kustomize, KustomizeError } from 'kustomize-ts';
import { type Case, corpusFiles, readCases } from './corpus.ts';
import { kubectlKustomize, type Printed } from './kubectl.ts';
import { randomTree } from './random-trees.ts';

const RANDOM_TREES = 60;

const kustomize = new Kustomize({ workers: 1 });
afterAll(() => kustomize.close());

const compared = corpusFiles().filter((file) => file !== 'refused.txt');

describe.each(compared)('what kubectl prints, for the cases of %s', (file) => {
  it.each(readCases(file).map((each): [string, Case] => [each.title, each]))('%s', async (_, { files, path, error }) => {
    const [theirs, ours] = await Promise.all([kubectlKustomize(files, path), attempt(files, path)]);
    expect(ours).toEqual(theirs);
    expect(theirs.error !== undefined).toBe(error !== undefined);
  });
});

describe.each(corpusFiles())('where errors are, for the cases of %s', (file) => {
  const refused = readCases(file).filter(({ error }) => error !== undefined);
  it(`is told for each of ${refused.length}`, async () => {
    const expected = refused.map(({ title, error }) => ({ title, ...error }));
    const told = await Promise.all(
      refused.map(async ({ title, files, path }) => ({ title, ...placeOf(await failureOf(files, path)) })),
    );
    expect(told).toEqual(expected);
  });
});

describe('what is refused', () => {
  it.each(readCases('refused.txt').map((each): [string, Case] => [each.title, each]))('%s', async (_, { files, path }) => {
    const failure = await failureOf(files, path);
    expect(failure.message).toContain(failure.file);
    expect(failure.message).not.toContain('/tree');
  });
});

it('prints what kubectl prints for random trees', async () => {
  let built = 0;
  await fc.assert(
    fc.asyncProperty(randomTree, async ({ files, path }) => {
      const [theirs, ours] = await Promise.all([kubectlKustomize(files, path), attempt(files, path)]);
      expect(ours).toEqual(theirs);
      if (theirs.error === undefined) built += 1;
    }),
    { numRuns: RANDOM_TREES },
  );
  // Trees that are all refused would prove little.
  expect(built).toBeGreaterThan(RANDOM_TREES / 10);
}, 300_000);

/** The same in the words of kubectl. */
async function attempt(files: ReadonlyMap<string, Buffer>, path: string): Promise<Printed> {
  try {
    const { yaml, warnings }: BuildResult = await kustomize.build({ files, path });
    return { yaml, warnings, error: undefined };
  } catch (error) {
    if (!(error instanceof KustomizeError)) throw error;
    return { yaml: '', warnings: error.warnings, error: error.message };
  }
}

async function failureOf(files: ReadonlyMap<string, Buffer>, path: string): Promise<KustomizeError> {
  const error: unknown = await kustomize.build({ files, path }).catch((reason: unknown) => reason);
  if (!(error instanceof KustomizeError)) throw new Error(`The build did not fail as it should: ${String(error)}`);
  return error;
}

function placeOf({ code, file, field, resource }: KustomizeError): object {
  return Object.fromEntries(Object.entries({ code, file, field, resource }).filter(([, value]) => value !== undefined));
}
