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
  const withTls = (await readFile(example, 'utf8')).replace(/^( +)# ((?:certificate|key)_file: .*)$/gm, '$1$2');
  const withReplicas = withTls.replace(/^# private_api:\n(?:#.*\n)+/m, (section) => section.replaceAll(/^# /gm, ''));
  const section = /^  # kubernetes_api:\n(?:  #   .*\n)+/m;
  const withProxy = withReplicas.replace(section, (found) => found.replaceAll(/^  # /gm, '  '));
  const complete = parseKasConfig(withProxy, example);
  expect(complete.agent.kubernetesApi).toEqual({
    listen: {
      address: { host: '127.0.0.1', port: 8154 },
      tls: {
        certificateFile: expect.stringMatching(/kubernetes-api\.crt$/),
        keyFile: expect.stringMatching(/kubernetes-api\.key$/),
      },
    },
    urlPathPrefix: '/',
    accessTtlMs: 10_000,
  });
  const cable = /^  # cable:\n(?:  #   .*\n)+/m;
  const withCable = withReplicas.replace(cable, (found) => found.replaceAll(/^  # /gm, '  '));
  expect(parseKasConfig(withCable, example).liveChanges.cable).toMatchObject({ address: { port: 8156 }, tls: expect.anything() });
  const withGitlab = withTls.replace(/^# gitlab:\n(?:#.*\n)+/m, (section) => section.replaceAll(/^# /gm, ''));
  expect(parseKasConfig(withGitlab.replace(/^registry:\n(?: .*\n)*/m, ''), example).gitlab).toBeDefined();
  const withWebhooks = withTls.replace(/^# webhooks:\n(?:#.*\n)+/m, (section) => section.replaceAll(/^# /gm, ''));
  expect(parseKasConfig(withWebhooks, example).webhooks?.sources).toHaveLength(1);
  // What is instead of something else.
  const text = withReplicas.replace(/^( *)# ( *[a-z_]+:.*)$/gm, '$1$2');
  expect(complete.agent.listen.tls).toBeDefined();
  expect(complete.api.listen.tls).toBeDefined();
  expect(complete.privateApi).toBeDefined();
  expect(complete.redis).toMatchObject({ keyPrefix: 'gitlab-kas', dialTimeoutMs: 5_000 });
  const named = new Set([...text.matchAll(/^(?:#? *(?:- )?)([a-z_]+):/gm)].map((match) => match[1]));
  expect(named).toEqual(new Set(keysOf(kasConfigSchema)));
});

/** All keys that the schema knows, at any depth. */
function keysOf(schema: z.core.$ZodType): string[] {
  if (schema instanceof z.ZodObject) return Object.entries(schema.shape).flatMap(([key, member]) => [key, ...keysOf(member)]);
  if (schema instanceof z.ZodArray) return keysOf(schema.element);
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
    limits: { connectionsPerTokenPerMinute: 100, streamsPerAgent: 1_000 },
  });
  expect(config.observability.listen.address.port).toBe(8151);
  expect(config.api.listen.address.port).toBe(8153);
  expect(config.agent.gitops).toEqual({
    pollPeriodMs: 20_000,
    projectInfoCache: { ttlMs: 60_000, errorTtlMs: 60_000 },
    overridesFile: '/etc/kas/unit-overrides.json',
    blobCache: undefined,
    limits: { maxFileBytes: 5 << 20, maxTotalBytes: 20 << 20, maxPaths: 100, maxFiles: 20_000 },
    kustomize: { timeLimitMs: 30_000, memoryLimitBytes: 512 << 20, maxConcurrentBuilds: 2 },
  });
  expect(config.gitaly.perServerRateLimit).toEqual({ refillPerSecond: 200, bucketSize: 200 });
});

test('contents of files are kept on disk where a folder is named', () => {
  const config = parseKasConfig(`agent: {gitops: {blob_cache: {folder: blobs}}}\n${REQUIRED}`, '/etc/kas/config.yaml');
  expect(config.agent.gitops.blobCache).toEqual({ folder: '/etc/kas/blobs', maxBytes: 1 << 30 });
});

test('relative paths start at the folder of the file, absolute ones stay', () => {
  const config = parseKasConfig(
    'agent: {listen: {certificate_file: tls/a.crt, key_file: /keys/a.key}}\n' + REQUIRED,
    '/etc/kas/config.yaml',
  );
  expect(config.agent.listen.tls).toEqual({ certificateFile: '/etc/kas/tls/a.crt', keyFile: '/keys/a.key' });
  expect(config.registry?.file).toBe('/etc/kas/registry.yaml');
  expect(config.api.listen.authenticationSecretFile).toBe('/etc/kas/api-secret');
});

test('agents and projects may come from a GitLab below a path of its host', () => {
  const text = `api: {listen: {authentication_secret_file: s}}
gitlab:
  address: https://example.com/gitlab/
  authentication_secret_file: gitlab-secret
  ca_certificate_file: ca.crt
  api_rate_limit: {refill_rate_per_second: 50, bucket_size: 250}
`;
  const config = parseKasConfig(text, '/etc/kas/config.yaml');
  expect(config.registry).toBeUndefined();
  expect(config.gitlab).toEqual({
    address: new URL('https://example.com/gitlab/'),
    authenticationSecretFile: '/etc/kas/gitlab-secret',
    caCertificateFile: '/etc/kas/ca.crt',
    apiRateLimit: { refillPerSecond: 50, bucketSize: 250 },
    allowedModulePaths: ['cilium_alert'],
  });
});

test('Redis is one server or watched by Sentinel, and files start at the folder of the configuration', () => {
  const replicas = 'private_api: {listen: {authentication_secret_file: s}}\n';
  const single = parseKasConfig(`redis: {server: {address: 'redis:6379'}}\n${replicas}${REQUIRED}`, '/etc/kas/config.yaml');
  expect(single.redis).toEqual({
    servers: { kind: 'single', address: { host: 'redis', port: 6379 } },
    username: undefined,
    passwordFile: undefined,
    tls: undefined,
    keyPrefix: 'gitlab-kas',
    dialTimeoutMs: 5_000,
  });
  expect(single.privateApi?.listen.authenticationSecretFile).toBe('/etc/kas/s');
  const sentinel = `{master_name: m, addresses: ['a:1', 'b:2'], sentinel_password_file: p}`;
  const tls = '{enabled: true, ca_certificate_file: ca.crt}';
  const watched = parseKasConfig(`redis: {sentinel: ${sentinel}, tls: ${tls}}\n${replicas}${REQUIRED}`, '/etc/kas/config.yaml');
  expect(watched.redis).toMatchObject({
    servers: { kind: 'sentinel', masterName: 'm', passwordFile: '/etc/kas/p' },
    tls: { caCertificateFile: '/etc/kas/ca.crt', clientCertificate: undefined },
  });
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
  [
    'a registry file beside GitLab',
    `gitlab: {address: 'https://gitlab.example.com', authentication_secret_file: s}\n${REQUIRED}`,
    /config\.yaml:1: gitlab: .* not from both; remove gitlab or registry/,
  ],
  [
    'an address of GitLab that is none',
    `gitlab: {address: gitlab.example.com, authentication_secret_file: s}\n${REQUIRED}`,
    /config\.yaml:1: gitlab\.address: must be the URL of GitLab/,
  ],
  ['a missing API secret', 'registry: {file: r}\n', /config\.yaml:1: api: is missing/],
  [
    'Redis without servers',
    `redis: {}\nprivate_api: {listen: {authentication_secret_file: s}}\n${REQUIRED}`,
    /config\.yaml:1: redis: needs either server or sentinel; name one of them/,
  ],
  [
    'Redis without a private API',
    `redis: {server: {address: 'localhost:6379'}}\n${REQUIRED}`,
    /redis is for several replicas, which call each other: add private_api/,
  ],
  ['a limit of zero', `agent: {gitops: {max_number_of_files: 0}}\n${REQUIRED}`, /max_number_of_files/],
])('%s is an error with file, line and path', (_, text, message) => {
  expect(() => parseKasConfig(text, 'config.yaml')).toThrow(message);
  expect(() => parseKasConfig(text, 'config.yaml')).toThrow(UserError);
});

test('a file that is not there is a user error that names it', async () => {
  await expect(loadKasConfig('/nowhere/kas.yaml')).rejects.toThrow(/\/nowhere\/kas\.yaml/);
});
