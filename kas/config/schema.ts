import { z } from 'zod';
import { byteSize, durationMs, listenAddress } from '../../lib/config-types.ts';

/**
 * The configuration file of kas. Names are GitLab's (kascfg) where it has the setting; `registry` is ours.
 * Defaults stand here, once; `example.yaml` shows them all.
 */

const file = z.string().min(1, 'is empty; name a file');
const urlPath = z.string().regex(/^\/[\w./-]*$/, 'must be a path that begins with "/"; write it like /liveness');

const tlsFiles = { certificate_file: file.optional(), key_file: file.optional() };

interface TlsKeys {
  readonly certificate_file?: string | undefined;
  readonly key_file?: string | undefined;
}

function bothOrNone(listen: TlsKeys, context: z.RefinementCtx): void {
  if ((listen.certificate_file === undefined) === (listen.key_file === undefined)) return;
  const missing = listen.key_file === undefined ? 'key_file' : 'certificate_file';
  context.addIssue(`certificate_file and key_file must be either both set or both not set; add ${missing} or remove the other`);
}

const agentListen = z
  .strictObject({
    address: listenAddress().prefault('127.0.0.1:8150'),
    ...tlsFiles,
    max_connection_age: durationMs({ min: 1000 }).prefault('30m'),
  })
  .superRefine(bothOrNone);

const configuration = z.strictObject({
  poll_period: durationMs({ min: 100 }).prefault('20s'),
  max_configuration_file_size: byteSize({ min: 1 }).prefault('128Ki'),
});

const gitops = z.strictObject({
  poll_period: durationMs({ min: 100 }).prefault('20s'),
  overrides_file: file.default('unit-overrides.json'),
  max_manifest_file_size: byteSize({ min: 1 }).prefault('5Mi'),
  max_total_manifest_file_size: byteSize({ min: 1 }).prefault('20Mi'),
  max_number_of_paths: z.int().min(1).default(100),
  max_number_of_files: z.int().min(1).default(20_000),
  kustomize: z
    .strictObject({
      time_limit: durationMs({ min: 100 }).prefault('30s'),
      memory_limit: byteSize({ min: 64 << 20 }).prefault('512Mi'),
      max_concurrent_builds: z.int().min(1).max(64).default(2),
    })
    .prefault({}),
});

function rateLimit(perSecond: number) {
  return z.strictObject({
    refill_rate_per_second: z.number().positive().default(perSecond),
    bucket_size: z.int().min(1).default(perSecond),
  });
}

const gitaly = z.strictObject({
  global_api_rate_limit: rateLimit(1000).prefault({}),
  per_server_api_rate_limit: rateLimit(200).prefault({}),
});

const observability = z.strictObject({
  listen: z.strictObject({ address: listenAddress().prefault('127.0.0.1:8151') }).prefault({}),
  logging: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
  liveness_probe: z.strictObject({ url_path: urlPath.default('/liveness') }).prefault({}),
  readiness_probe: z.strictObject({ url_path: urlPath.default('/readiness') }).prefault({}),
});

const api = z.strictObject({
  listen: z
    .strictObject({
      address: listenAddress().prefault('127.0.0.1:8153'),
      authentication_secret_file: file,
      ...tlsFiles,
    })
    .superRefine(bothOrNone),
});

export const kasConfigSchema = z.strictObject({
  agent: z
    .strictObject({
      listen: agentListen.prefault({}),
      configuration: configuration.prefault({}),
      gitops: gitops.prefault({}),
    })
    .prefault({}),
  gitaly: gitaly.prefault({}),
  observability: observability.prefault({}),
  api,
  registry: z.strictObject({ file }),
});

export type KasConfigFile = z.output<typeof kasConfigSchema>;
