import type { ListenAddress } from '../../lib/config-types.ts';
import type { LogLevel } from '../../lib/log.ts';

/** What kas works by: the configuration file with defaults filled in, units in the names, paths absolute. Frozen. */
export interface KasConfig {
  readonly agent: {
    readonly listen: {
      readonly address: ListenAddress;
      readonly tls: TlsFiles | undefined;
      readonly maxConnectionAgeMs: number;
    };
    readonly configuration: {
      readonly pollPeriodMs: number;
      readonly maxConfigurationFileBytes: number;
    };
    readonly gitops: {
      readonly pollPeriodMs: number;
      /** What people set over the configuration of units. */
      readonly overridesFile: string;
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
    readonly logLevel: LogLevel;
    readonly livenessUrlPath: string;
    readonly readinessUrlPath: string;
  };
  readonly api: {
    readonly listen: {
      readonly address: ListenAddress;
      readonly tls: TlsFiles | undefined;
      readonly authenticationSecretFile: string;
    };
  };
  readonly registry: {
    readonly file: string;
  };
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
