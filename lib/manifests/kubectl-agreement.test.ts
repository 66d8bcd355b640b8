import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { decodeManifest } from './decode-manifest.ts';
import { type KubectlReading, readWithKubectl } from './testing/kubectl-oracle.ts';
import { randomManifestBody, randomYamlNoise } from './testing/random-manifests.ts';

const corpusFolder = join(import.meta.dirname, 'testdata/corpus');
const randomDocuments = 1500;
const seed = Number(process.env['FUZZ_SEED'] ?? Math.trunc(Math.random() * 2 ** 31));

interface OurReading {
  readonly objects: string[];
  readonly errors: string[];
}

function readOurselves(name: string, content: Buffer): OurReading {
  const { objects, problems } = decodeManifest(name, content);
  const errors = problems.filter(({ severity }) => severity === 'error').map(({ line, message }) => `line ${line}: ${message}`);
  return { objects: objects.map((object) => object.content.toString()), errors };
}

describe('decodeManifest, compared with the real kubectl,', () => {
  describe('on the corpus', () => {
    const files = new Map<string, Buffer>();
    let readings: Map<string, KubectlReading>;

    beforeAll(async () => {
      for (const name of await readdir(corpusFolder)) files.set(name, await readFile(join(corpusFolder, name)));
      readings = await readWithKubectl(files);
    }, 30 * 60_000);

    it('has a corpus to compare', () => {
      expect(files.size).toBeGreaterThan(100);
      expect([...readings.values()].flatMap(({ objects }) => objects).length).toBeGreaterThan(60);
    });

    it('finds the same objects, down to the text of numbers, in whatever kubectl accepts', () => {
      const accepted = [...files].filter(([name]) => !/-refused\.\w+$/.test(name));
      const ours = accepted.map(([name, content]) => [name, readOurselves(name, content)]);

      expect(ours).toEqual(accepted.map(([name]) => [name, { objects: readings.get(name)?.objects, errors: [] }]));
      expect(accepted.map(([name]) => readings.get(name)?.error)).toEqual(accepted.map(() => undefined));
    });

    it('refuses what kubectl refuses', () => {
      const refused = [...files].filter(([name]) => /-refused\.\w+$/.test(name));
      const accepted = refused.filter(([name, content]) => readOurselves(name, content).errors.length === 0);

      expect(refused.length).toBeGreaterThan(30);
      expect(accepted.map(([name]) => name)).toEqual([]);
      expect(refused.flatMap(([name]) => readings.get(name)?.objects.slice(name.startsWith('json-stream') ? 2 : 0))).toEqual([]);
    });
  });

  it.each([
    ['random manifests', randomManifestBody, 0.03],
    ['random characters', randomYamlNoise, 0.02],
  ] as const)(
    `means the same by %s (FUZZ_SEED=${seed})`,
    async (_, arbitrary, mayRefuseMore) => {
      const bodies = fc.sample(arbitrary, { numRuns: randomDocuments, seed });
      const files = new Map(
        bodies.map((body, index) => [
          `n${index}.yaml`,
          Buffer.from(`apiVersion: v1\nkind: Sample\nmetadata: {name: n${index}}\nspec:${body}`),
        ]),
      );
      const readings = await readWithKubectl(files);
      const wrong: unknown[] = [];
      let refused = 0;
      let equal = 0;
      for (const [name, content] of files) {
        const ours = readOurselves(name, content);
        const kubectl = readings.get(name) ?? { objects: [], error: undefined };
        if (ours.errors.length > 0) refused += kubectl.error === undefined ? 1 : 0;
        else if (kubectl.error !== undefined || ours.objects.join() !== kubectl.objects.join()) {
          wrong.push({ manifest: content.toString(), ours, kubectl });
        } else equal++;
      }

      expect(wrong).toEqual([]);
      expect(equal).toBeGreaterThan(randomDocuments / 4);
      // What YAML 1.2 forbids and kubectl lets pass is refused with a message, never misread.
      expect(refused / randomDocuments).toBeLessThan(mayRefuseMore);
    },
    120_000,
  );
});
