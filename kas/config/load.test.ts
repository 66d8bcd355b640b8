import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import { loadKasConfig, parseKasConfig } from './load.ts';
import { kasConfigSchema } from './schema.ts';

const REQUIRED = 'api: {listen: {authentication_secret_file: api-secret}}\nregistry: {file: registry.yaml}\n';
const example = fileURLToPath(new URL('./example.yaml', import.meta.url));

test('the example shows the defaults', async () => {
  expect(await loadKasConfig(example)).toEqual(parseKasConfig(REQUIRED, example));
});

test('the example names every setting, those that are off in comments', async () => {
  const text = (await readFile(example, 'utf8')).replace(/^( +)# ((?:certificate|key)_file: .*)$/gm, '$1$2');
  const complete = parseKasConfig(text, example);
  expect(complete.agent.listen.tls).toBeDefined();
  expect(complete.api.listen.tls).toBeDefined();
  const named = new Set([...text.matchAll(/^\s*([a-z_]+):/gm)].map((match) => match[1]));
  expect(named).toEqual(new Set(keysOf(kasConfigSchema)));
});

/** All keys that the schema knows, at any depth. */
function keysOf(schema: z.core.$ZodType): string[] {
  if (schema instanceof z.ZodObject) return Object.entries(schema.shape).flatMap(([key, member]) => [key, ...keysOf(member)]);
  const { def } = schema._zod;
  if (schema instanceof z.ZodPipe) return keysOf(schema.def.in);
  return 'innerType' in def && def.innerType instanceof z.ZodType ? keysOf(def.innerType) : [];
}

test('defaults are those of the documentation', () => {
  const config = parseKasConfig(REQUIRED, '/etc/kas/config.yaml');
  expect(config.agent.listen).toEqual({
    address: { host: '127.0.0.1', port: 8150 },
    tls: undefined,
    maxConnectionAgeMs: 1_800_000,
  });
  expect(config.observability.listen.address.port).toBe(8151);
  expect(config.api.listen.address.port).toBe(8153);
  expect(config.agent.gitops).toEqual({
    pollPeriodMs: 20_000,
    overridesFile: '/etc/kas/unit-overrides.json',
    limits: { maxFileBytes: 5 << 20, maxTotalBytes: 20 << 20, maxPaths: 100, maxFiles: 20_000 },
    kustomize: { timeLimitMs: 30_000, memoryLimitBytes: 512 << 20, maxConcurrentBuilds: 2 },
  });
  expect(config.gitaly.perServerRateLimit).toEqual({ refillPerSecond: 200, bucketSize: 200 });
});

test('relative paths start at the folder of the file, absolute ones stay', () => {
  const config = parseKasConfig(
    'agent: {listen: {certificate_file: tls/a.crt, key_file: /keys/a.key}}\n' + REQUIRED,
    '/etc/kas/config.yaml',
  );
  expect(config.agent.listen.tls).toEqual({ certificateFile: '/etc/kas/tls/a.crt', keyFile: '/keys/a.key' });
  expect(config.registry.file).toBe('/etc/kas/registry.yaml');
  expect(config.api.listen.authenticationSecretFile).toBe('/etc/kas/api-secret');
});

test('the compiled configuration cannot be changed', () => {
  const config = parseKasConfig(REQUIRED, '/etc/kas/config.yaml');
  expect(() => Object.assign(config.agent.gitops.limits, { maxFiles: 1 })).toThrow(TypeError);
});

test.each([
  [
    'an unknown key',
    `agent:\n  listen:\n    adress: ':1'\n${REQUIRED}`,
    /config\.yaml:3: agent\.listen\.adress: unknown key; did you mean "address"\?/,
  ],
  [
    'a key without certificate',
    `agent:\n  listen: {key_file: a.key}\n${REQUIRED}`,
    /config\.yaml:2: agent\.listen: .*must be either both set or both not set; add certificate_file/,
  ],
  [
    'a bad duration',
    `agent: {gitops: {poll_period: soon}}\n${REQUIRED}`,
    /config\.yaml:1: agent\.gitops\.poll_period: must be a duration/,
  ],
  ['a missing registry', 'api: {listen: {authentication_secret_file: s}}\n', /config\.yaml:1: registry: is missing/],
  ['a missing API secret', 'registry: {file: r}\n', /config\.yaml:1: api: is missing/],
  ['a limit of zero', `agent: {gitops: {max_number_of_files: 0}}\n${REQUIRED}`, /max_number_of_files/],
])('%s is an error with file, line and path', (_, text, message) => {
  expect(() => parseKasConfig(text, 'config.yaml')).toThrow(message);
  expect(() => parseKasConfig(text, 'config.yaml')).toThrow(UserError);
});

test('a file that is not there is a user error that names it', async () => {
  await expect(loadKasConfig('/nowhere/kas.yaml')).rejects.toThrow(/\/nowhere\/kas\.yaml/);
});
