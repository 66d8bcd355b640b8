import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';
import type {
  GitlabConfig,
  KasConfig,
  KubernetesApiConfig,
  PrivateApiConfig,
  RateLimitConfig,
  RedisConfig,
  TlsFiles,
  WebhooksConfig,
} from './kas-config.ts';
import { type KasConfigFile, kasConfigSchema } from './schema.ts';

/** Reads the configuration file of kas. Relative paths in it start at its folder. UserError with file and line when it is wrong. */
export async function loadKasConfig(file: string): Promise<KasConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new UserError(`Cannot read the configuration file ${file}: ${(error as Error).message}`, {
      reason: 'ConfigurationFileUnreadable',
      cause: error,
    });
  }
  return parseKasConfig(text, file);
}

export function parseKasConfig(text: string, file: string): KasConfig {
  return deepFreeze(compile(parseYamlConfig(text, file, kasConfigSchema), dirname(resolve(file))));
}

function compile(file: KasConfigFile, folder: string): KasConfig {
  const { agent, gitaly, observability, api, live_changes, private_api, redis, webhooks, gitlab, registry } = file;
  return {
    agent: {
      listen: {
        address: agent.listen.address,
        tls: tls(agent.listen, folder),
        maxConnectionAgeMs: agent.listen.max_connection_age,
        limits: {
          connectionsPerTokenPerMinute: agent.listen.connections_per_token_per_minute,
          streamsPerAgent: agent.listen.max_streams_per_agent,
        },
      },
      infoCache: { ttlMs: agent.info_cache_ttl, errorTtlMs: agent.info_cache_error_ttl },
      kubernetesApi: agent.kubernetes_api === undefined ? undefined : compileKubernetesApi(agent.kubernetes_api, folder),
      configuration: {
        pollPeriodMs: agent.configuration.poll_period,
        maxConfigurationFileBytes: agent.configuration.max_configuration_file_size,
      },
      gitops: {
        pollPeriodMs: agent.gitops.poll_period,
        projectInfoCache: { ttlMs: agent.gitops.project_info_cache_ttl, errorTtlMs: agent.gitops.project_info_cache_error_ttl },
        overridesFile: resolve(folder, agent.gitops.overrides_file),
        blobCache: agent.gitops.blob_cache && {
          folder: resolve(folder, agent.gitops.blob_cache.folder),
          maxBytes: agent.gitops.blob_cache.max_size,
        },
        limits: {
          maxFileBytes: agent.gitops.max_manifest_file_size,
          maxTotalBytes: agent.gitops.max_total_manifest_file_size,
          maxPaths: agent.gitops.max_number_of_paths,
          maxFiles: agent.gitops.max_number_of_files,
        },
        kustomize: {
          timeLimitMs: agent.gitops.kustomize.time_limit,
          memoryLimitBytes: agent.gitops.kustomize.memory_limit,
          maxConcurrentBuilds: agent.gitops.kustomize.max_concurrent_builds,
        },
      },
    },
    gitaly: {
      globalRateLimit: rateLimit(gitaly.global_api_rate_limit),
      perServerRateLimit: rateLimit(gitaly.per_server_api_rate_limit),
    },
    observability: {
      listen: { address: observability.listen.address },
      usageReportingPeriodMs: observability.usage_reporting_period,
      logLevel: observability.logging.level,
      livenessUrlPath: observability.liveness_probe.url_path,
      readinessUrlPath: observability.readiness_probe.url_path,
    },
    api: {
      listen: {
        address: api.listen.address,
        tls: tls(api.listen, folder),
        authenticationSecretFile: resolve(folder, api.listen.authentication_secret_file),
        authenticationSecretEncoding: api.listen.authentication_secret_encoding,
      },
    },
    liveChanges: {
      rateLimit: rateLimit(live_changes.rate_limit),
      channelPrefix: live_changes.action_cable_channel_prefix,
      cable:
        live_changes.cable === undefined
          ? undefined
          : { address: live_changes.cable.listen.address, tls: tls(live_changes.cable.listen, folder) },
    },
    privateApi: private_api === undefined ? undefined : compilePrivateApi(private_api, folder),
    redis: redis === undefined ? undefined : compileRedis(redis, folder),
    webhooks: webhooks === undefined ? undefined : compileWebhooks(webhooks, folder),
    gitlab: gitlab === undefined ? undefined : compileGitlab(gitlab, folder),
    registry: registry === undefined ? undefined : { file: resolve(folder, registry.file) },
  };
}

function compileKubernetesApi(
  { listen, url_path_prefix: prefix, access_cache_ttl: accessTtlMs }: NonNullable<KasConfigFile['agent']['kubernetes_api']>,
  folder: string,
): KubernetesApiConfig {
  const urlPathPrefix = prefix.endsWith('/') ? prefix : `${prefix}/`;
  return { listen: { address: listen.address, tls: tls(listen, folder) }, urlPathPrefix, accessTtlMs };
}

function compileWebhooks(
  { listen, max_body_size, sources }: NonNullable<KasConfigFile['webhooks']>,
  folder: string,
): WebhooksConfig {
  return {
    listen: { address: listen.address, tls: tls(listen, folder) },
    maxBodyBytes: max_body_size,
    sources: sources.map(({ name, host, secret_file }) => ({ name, host, secretFile: resolve(folder, secret_file) })),
  };
}

function compileGitlab(gitlab: NonNullable<KasConfigFile['gitlab']>, folder: string): GitlabConfig {
  return {
    address: new URL(gitlab.address),
    authenticationSecretFile: resolve(folder, gitlab.authentication_secret_file),
    caCertificateFile: optionalFile(gitlab.ca_certificate_file, folder),
    apiRateLimit: rateLimit(gitlab.api_rate_limit),
    allowedModulePaths: gitlab.allowed_module_paths,
  };
}

function compilePrivateApi({ listen }: NonNullable<KasConfigFile['private_api']>, folder: string): PrivateApiConfig {
  return {
    listen: {
      address: listen.address,
      tls: tls(listen, folder),
      authenticationSecretFile: resolve(folder, listen.authentication_secret_file),
      caCertificateFile: optionalFile(listen.ca_certificate_file, folder),
    },
  };
}

function compileRedis(redis: NonNullable<KasConfigFile['redis']>, folder: string): RedisConfig {
  return {
    servers: redisServers(redis, folder),
    username: redis.username,
    passwordFile: optionalFile(redis.password_file, folder),
    tls: redis.tls.enabled
      ? { caCertificateFile: optionalFile(redis.tls.ca_certificate_file, folder), clientCertificate: tls(redis.tls, folder) }
      : undefined,
    keyPrefix: redis.key_prefix,
    dialTimeoutMs: redis.dial_timeout,
  };
}

function redisServers({ server, sentinel }: NonNullable<KasConfigFile['redis']>, folder: string): RedisConfig['servers'] {
  if (server !== undefined) return { kind: 'single', address: server.address };
  if (sentinel === undefined) throw new Error('The schema lets no configuration of Redis pass without servers');
  const { master_name: masterName, addresses, sentinel_password_file: passwordFile } = sentinel;
  return { kind: 'sentinel', masterName, addresses, passwordFile: optionalFile(passwordFile, folder) };
}

function optionalFile(file: string | undefined, folder: string): string | undefined {
  return file === undefined ? undefined : resolve(folder, file);
}

function tls(
  listen: { certificate_file?: string | undefined; key_file?: string | undefined },
  folder: string,
): TlsFiles | undefined {
  if (listen.certificate_file === undefined || listen.key_file === undefined) return undefined;
  return { certificateFile: resolve(folder, listen.certificate_file), keyFile: resolve(folder, listen.key_file) };
}

function rateLimit(limit: { refill_rate_per_second: number; bucket_size: number }): RateLimitConfig {
  return { refillPerSecond: limit.refill_rate_per_second, bucketSize: limit.bucket_size };
}

function deepFreeze<T extends object>(value: T): T {
  for (const member of Object.values(value)) if (typeof member === 'object' && member !== null) deepFreeze(member as object);
  return Object.freeze(value);
}
