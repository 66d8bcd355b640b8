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
    connections_per_token_per_minute: z.int().min(1).default(100),
    max_streams_per_agent: z.int().min(1).default(1_000),
  })
  .superRefine(bothOrNone);

const kubernetesApi = z.strictObject({
  listen: z
    .strictObject({ address: listenAddress().prefault('127.0.0.1:8154'), ...tlsFiles })
    .superRefine(bothOrNone)
    .prefault({}),
  url_path_prefix: urlPath.default('/'),
  access_cache_ttl: durationMs({ min: 100 }).prefault('10s'),
});

const configuration = z.strictObject({
  poll_period: durationMs({ min: 100 }).prefault('20s'),
  max_configuration_file_size: byteSize({ min: 1 }).prefault('128Ki'),
});

const cacheTtl = durationMs().prefault('1m');

const gitops = z.strictObject({
  poll_period: durationMs({ min: 100 }).prefault('20s'),
  project_info_cache_ttl: cacheTtl,
  project_info_cache_error_ttl: cacheTtl,
  overrides_file: file.default('unit-overrides.json'),
  blob_cache: z.strictObject({ folder: file, max_size: byteSize({ min: 1 << 20 }).prefault('1Gi') }).optional(),
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

function rateLimit(perSecond: number, atOnce = perSecond) {
  return z.strictObject({
    refill_rate_per_second: z.number().positive().default(perSecond),
    bucket_size: z.int().min(1).default(atOnce),
  });
}

const gitlab = z.strictObject({
  address: z.string().superRefine((address, context) => {
    if (!/^https?:\/\/[^/?#@\s]+(?:\/[^?#\s]*)?$/.test(address) || !URL.canParse(address))
      context.addIssue('must be the URL of GitLab; write it like https://gitlab.example.com or https://example.com/gitlab');
  }),
  authentication_secret_file: file,
  ca_certificate_file: file.optional(),
  api_rate_limit: rateLimit(200, 1000).prefault({}),
  allowed_module_paths: z
    .array(
      z.string().regex(/^[\w-]+(?:\/[\w.~-]+)*$/, {
        message:
          'must be a module, or a module and a path, without "/" at either end; write it like remote_development/reconcile',
      }),
    )
    .default(['cilium_alert']),
});

const webhooks = z
  .strictObject({
    listen: z
      .strictObject({ address: listenAddress().prefault('127.0.0.1:8157'), ...tlsFiles })
      .superRefine(bothOrNone)
      .prefault({}),
    max_body_size: byteSize({ min: 1024 }).prefault('5Mi'),
    sources: z
      .array(
        z.strictObject({
          name: z.string().regex(/^[\w.-]+$/, 'must be made of letters, digits, "_", "-" and "."; write it like github-shop'),
          host: z.enum(['github', 'gitlab', 'gitea', 'bitbucket']),
          secret_file: file,
        }),
      )
      .min(1, 'is empty; name a source'),
  })
  .superRefine(({ sources }, context) => {
    for (const [index, { name }] of sources.entries())
      if (sources.findIndex((other) => other.name === name) !== index)
        context.addIssue({
          code: 'custom',
          path: ['sources', index, 'name'],
          message: 'is used by another source; choose another name',
        });
  });

const gitaly = z.strictObject({
  global_api_rate_limit: rateLimit(1000).prefault({}),
  per_server_api_rate_limit: rateLimit(200).prefault({}),
});

const observability = z.strictObject({
  usage_reporting_period: durationMs().prefault('60s'),
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
      authentication_secret_encoding: z.enum(['base64', 'raw']).default('base64'),
      ...tlsFiles,
    })
    .superRefine(bothOrNone),
});

const liveChanges = z.strictObject({
  rate_limit: rateLimit(50, 500).prefault({}),
  action_cable_channel_prefix: z.string().default(''),
  cable: z
    .strictObject({
      listen: z.strictObject({ address: listenAddress().prefault('127.0.0.1:8156'), ...tlsFiles }).superRefine(bothOrNone),
    })
    .optional(),
});

const redisTls = z
  .strictObject({ enabled: z.boolean().default(false), ca_certificate_file: file.optional(), ...tlsFiles })
  .superRefine(bothOrNone);

const redis = z
  .strictObject({
    server: z.strictObject({ address: listenAddress() }).optional(),
    sentinel: z
      .strictObject({
        master_name: z.string().min(1, 'is empty; name the group of servers that Sentinel watches'),
        addresses: z.array(listenAddress()).min(1, 'is empty; name at least one Sentinel'),
        sentinel_password_file: file.optional(),
      })
      .optional(),
    username: z.string().min(1).optional(),
    password_file: file.optional(),
    tls: redisTls.prefault({}),
    key_prefix: z
      .string()
      .regex(/^[\w.-]+$/, 'must be made of letters, digits, "_", "-" and "."; write it like gitlab-kas')
      .default('gitlab-kas'),
    dial_timeout: durationMs({ min: 100 }).prefault('5s'),
  })
  .superRefine(({ server, sentinel }, context) => {
    if ((server === undefined) === (sentinel === undefined))
      context.addIssue('needs either server or sentinel; name one of them');
  });

const privateApi = z.strictObject({
  listen: z
    .strictObject({
      address: listenAddress().prefault('127.0.0.1:8155'),
      authentication_secret_file: file,
      ca_certificate_file: file.optional(),
      ...tlsFiles,
    })
    .superRefine(bothOrNone),
});

export const kasConfigSchema = z
  .strictObject({
    agent: z
      .strictObject({
        listen: agentListen.prefault({}),
        info_cache_ttl: cacheTtl,
        info_cache_error_ttl: cacheTtl,
        kubernetes_api: kubernetesApi.optional(),
        configuration: configuration.prefault({}),
        gitops: gitops.prefault({}),
      })
      .prefault({}),
    gitaly: gitaly.prefault({}),
    observability: observability.prefault({}),
    api,
    live_changes: liveChanges.prefault({}),
    private_api: privateApi.optional(),
    redis: redis.optional(),
    webhooks: webhooks.optional(),
    gitlab: gitlab.optional(),
    registry: z.strictObject({ file }).optional(),
  })
  .superRefine(replicasReachEachOther)
  .superRefine(oneRegistry);

function replicasReachEachOther(
  config: { readonly redis?: unknown; readonly private_api?: unknown },
  context: z.RefinementCtx,
): void {
  if (config.redis === undefined || config.private_api !== undefined) return;
  context.addIssue({
    code: 'custom',
    path: ['redis'],
    message: 'redis is for several replicas, which call each other: add private_api; or remove redis',
  });
}

function oneRegistry(config: { readonly gitlab?: unknown; readonly registry?: unknown }, context: z.RefinementCtx): void {
  const issue = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message });
  if (config.gitlab === undefined && config.registry === undefined) issue('registry', 'is missing');
  if (config.gitlab !== undefined && config.registry !== undefined)
    issue('gitlab', 'agents and projects come from GitLab or from a registry file, not from both; remove gitlab or registry');
}

export type KasConfigFile = z.output<typeof kasConfigSchema>;
