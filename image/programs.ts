import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { build, type Plugin } from 'esbuild';

const REPOSITORY = join(import.meta.dirname, '..');

/** Command by the source that it starts with. */
const PROGRAMS = { kas: 'kas/main.ts', agentk: 'agentk/main.ts', 'kas-gitserver': 'kas/gitserver/main.ts' } as const;

/** By command, one at most. Each thread that V8 has for its own work costs memory; agentk has little of it beside garbage collection. */
const NODE_FLAGS: Readonly<Record<string, string>> = { agentk: ' --v8-pool-size=1' };

/** CommonJS packages ask for `require`, which modules do not have. */
const BANNER = "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);";

/**
 * Leaves out of the bundles what client-node needs for its own requests, a third of agentk's text: agentk takes credentials
 * from it and sends its requests itself. Whoever should use one of them all the same gets an error that says so.
 */
const withoutClient: Plugin = {
  name: 'without-client',
  setup(bundler) {
    bundler.onResolve({ filter: /^(?:undici|\.\/gen\/index\.js)$/ }, ({ path, importer }) =>
      importer.endsWith('/@kubernetes/client-node/dist/config.js') ? { path, namespace: 'unused' } : undefined,
    );
    bundler.onLoad({ filter: /.*/, namespace: 'unused' }, ({ path }) => ({
      contents: `class Unused { constructor() { throw new Error(${JSON.stringify(`${path} is not in this image`)}); } }
        const createConfiguration = () => new Unused();
        export { Unused as Agent, Unused as ProxyAgent, Unused as ServerConfiguration, createConfiguration };`,
    }));
  },
};

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly folder: string;
}

export interface Programs {
  /** One module by command. */
  readonly bundles: ReadonlyMap<string, Buffer>;
  /** What is in them. */
  readonly packages: readonly NpmPackage[];
}

/** Bundles the programs. kustomize-ts stays outside: its threads and its module are files of their own. */
export async function bundlePrograms(node: string): Promise<Programs> {
  const result = await build({
    absWorkingDir: REPOSITORY,
    entryPoints: Object.entries(PROGRAMS).map(([out, source]) => ({ in: source, out })),
    outdir: 'dist/image',
    write: false,
    metafile: true,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: ['kustomize-ts'],
    // What packages find from there is copied to where they look for it.
    define: { __dirname: 'import.meta.dirname' },
    // Names stay, for traces of errors. V8 keeps the text as long as the program runs.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'warning',
    banner: { js: BANNER },
    plugins: [withoutClient],
  });
  const bundles = result.outputFiles.map(({ path, text }): [string, Buffer] => {
    const name = path.slice(path.lastIndexOf('/') + 1, -'.js'.length);
    const flags = NODE_FLAGS[name] ?? '';
    return [name, Buffer.from(text.replace(/^#!.*/, `#!${node}${flags}`))];
  });
  return { bundles: new Map(bundles), packages: await packagesOf(Object.keys(result.metafile.inputs)) };
}

async function packagesOf(inputs: readonly string[]): Promise<readonly NpmPackage[]> {
  const folders = inputs.map((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  const distinct = [...new Set(folders.filter((folder) => folder !== undefined))].sort();
  return await Promise.all([...distinct, 'node_modules/kustomize-ts'].map((folder) => npmPackage(folder)));
}

export async function npmPackage(folder: string): Promise<NpmPackage> {
  const file = join(REPOSITORY, folder, 'package.json');
  const read = JSON.parse(await readFile(file, 'utf8')) as { name: string; version: string; license?: string };
  return { name: read.name, version: read.version, license: read.license ?? '', folder: dirname(file) };
}
