import type { ListenAddress } from '../../lib/listen-address.ts';
import type { LogLevel } from '../../lib/log.ts';

/** What kas works by: the configuration file with defaults filled in, units in the names, paths absolute. Frozen. */
export interface KasConfig {
  readonly agent: {
    readonly listen: {
      readonly address: ListenAddress;
      readonly tls: TlsFiles | undefined;
      readonly maxConnectionAgeMs: number;
      readonly limits: { readonly connectionsPerTokenPerMinute: number; readonly streamsPerAgent: number };
    };
    /** What GitLab said of an agent. */
    readonly infoCache: CacheTtlConfig;
    /** Where kubectl and CI jobs reach clusters; undefined: nowhere. */
    readonly kubernetesApi: KubernetesApiConfig | undefined;
    readonly configuration: {
      readonly pollPeriodMs: number;
      readonly maxConfigurationFileBytes: number;
    };
    readonly gitops: {
      readonly pollPeriodMs: number;
      /** What GitLab said of a project. */
      readonly projectInfoCache: CacheTtlConfig;
      /** What people set over the configuration of units. */
      readonly overridesFile: string;
      /** Where contents of files are kept on disk; undefined: nowhere. */
      readonly blobCache: { readonly folder: string; readonly maxBytes: number } | undefined;
      readonly limits: ManifestLimits;
      readonly kustomize: KustomizeConfig;
    };
  };
  readonly gitaly: {
    readonly globalRateLimit: RateLimitConfig;
    readonly perServerRateLimit: RateLimitConfig;
  };
  readonly observability: {
    readonly listen: { readonly address: ListenAddress };
    /** 0: nothing is reported. */
    readonly usageReportingPeriodMs: number;
    readonly logLevel: LogLevel;
    readonly livenessUrlPath: string;
    readonly readinessUrlPath: string;
  };
  readonly api: {
    readonly listen: {
      readonly address: ListenAddress;
      readonly tls: TlsFiles | undefined;
      readonly authenticationSecretFile: string;
      readonly authenticationSecretEncoding: 'base64' | 'raw';
    };
  };
  /** Of what agents keep, on their way to RoR and pages. */
  readonly liveChanges: {
    /** Of one agent. */
    readonly rateLimit: RateLimitConfig;
    /** As in Rails' cable.yml; empty: none. */
    readonly channelPrefix: string;
    /** Where pages connect; undefined: nowhere. */
    readonly cable: { readonly address: ListenAddress; readonly tls: TlsFiles | undefined } | undefined;
  };
  /** Where other replicas call this one; needed with `redis`. */
  readonly privateApi: PrivateApiConfig | undefined;
  /** What replicas share; undefined for a kas that is alone. */
  readonly redis: RedisConfig | undefined;
  /** Where Git hosts tell of pushes. */
  readonly webhooks: WebhooksConfig | undefined;
  /** Either this or `registry`. */
  readonly gitlab: GitlabConfig | undefined;
  readonly registry: { readonly file: string } | undefined;
}

export interface WebhooksConfig {
  readonly listen: { readonly address: ListenAddress; readonly tls: TlsFiles | undefined };
  readonly maxBodyBytes: number;
  readonly sources: readonly {
    readonly name: string;
    readonly host: 'github' | 'gitlab' | 'gitea' | 'bitbucket';
    readonly secretFile: string;
  }[];
}

export interface GitlabConfig {
  readonly address: URL;
  readonly authenticationSecretFile: string;
  readonly caCertificateFile: string | undefined;
  readonly apiRateLimit: RateLimitConfig;
  /** What agents may ask of GitLab: `<module>` or `<module>/<path>`, and all below. */
  readonly allowedModulePaths: readonly string[];
}

export interface CacheTtlConfig {
  /** 0: nothing is remembered. */
  readonly ttlMs: number;
  readonly errorTtlMs: number;
}

export interface PrivateApiConfig {
  readonly listen: {
    readonly address: ListenAddress;
    readonly tls: TlsFiles | undefined;
    readonly authenticationSecretFile: string;
    /** By which replicas check each other; the system's authorities when undefined. */
    readonly caCertificateFile: string | undefined;
  };
}

export interface RedisConfig {
  readonly servers:
    | { readonly kind: 'single'; readonly address: ListenAddress }
    | {
        readonly kind: 'sentinel';
        readonly masterName: string;
        readonly addresses: readonly ListenAddress[];
        readonly passwordFile: string | undefined;
      };
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  /** Undefined: plain text. */
  readonly tls: { readonly caCertificateFile: string | undefined; readonly clientCertificate: TlsFiles | undefined } | undefined;
  readonly keyPrefix: string;
  readonly dialTimeoutMs: number;
}

export interface KubernetesApiConfig {
  readonly listen: { readonly address: ListenAddress; readonly tls: TlsFiles | undefined };
  /** Begins and ends with a slash. */
  readonly urlPathPrefix: string;
  /** For how long it holds who may reach a cluster: requests that run longer are asked about again. */
  readonly accessTtlMs: number;
}

export interface TlsFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

export interface RateLimitConfig {
  readonly refillPerSecond: number;
  readonly bucketSize: number;
}

/** Bounds of the build of one kustomization. */
export interface KustomizeConfig {
  readonly timeLimitMs: number;
  readonly memoryLimitBytes: number;
  readonly maxConcurrentBuilds: number;
}

/** Bounds of one unit. */
export interface ManifestLimits {
  readonly maxFileBytes: number;
  readonly maxTotalBytes: number;
  readonly maxPaths: number;
  readonly maxFiles: number;
}
