import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { load } from 'js-yaml';
import { toError, UserError } from '../../lib/errors.ts';
import { type KubeAccess, KubeConfigAccess } from './kube-access.ts';
import type { Environment } from './proxy-environment.ts';

export interface KubeConfigOptions {
  /** Path of a kubeconfig file. Without it and without a context: in a pod its service account; else `KUBECONFIG`, `~/.kube/config`. */
  readonly kubeconfig?: string | undefined;
  /** Name of a context in it; the file's current one by default. */
  readonly context?: string | undefined;
}

const POD_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/**
 * The way to the cluster of a kubeconfig's context, or to the one this pod runs in, by kubectl's rules.
 * Throws a `UserError` that names the file or context at fault.
 */
export function loadKubeConfig(options: KubeConfigOptions, env: Environment = process.env): KubeAccess {
  return new KubeConfigAccess(() => readKubeConfig(options, env), env);
}

function readKubeConfig(options: KubeConfigOptions, env: Environment): KubeConfig {
  const config = readSources(options, env);
  if (options.context !== undefined) {
    if (config.getContextObject(options.context) === null) {
      throw new UserError(`The kubeconfig has no context "${options.context}"`, { kind: 'not_found', reason: 'UnknownContext' });
    }
    config.setCurrentContext(options.context);
  }
  if (config.getCurrentCluster() === null) {
    throw new UserError(`The kubeconfig's context "${config.getCurrentContext() ?? ''}" names no cluster`, {
      reason: 'IncompleteKubeconfig',
    });
  }
  if (config.getCurrentUser() === null) {
    throw new UserError(`The kubeconfig's context "${config.getCurrentContext()}" names no user`, {
      reason: 'IncompleteKubeconfig',
    });
  }
  tellPluginAboutItself(config);
  return config;
}

function readSources(options: KubeConfigOptions, env: Environment): KubeConfig {
  if (options.kubeconfig !== undefined) return readFiles([options.kubeconfig]);
  if (options.context === undefined && env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(POD_TOKEN)) {
    const config = new KubeConfig();
    config.loadFromCluster();
    return config;
  }
  const named = (env['KUBECONFIG'] ?? '').split(path.delimiter).filter((file) => file !== '');
  if (named.length > 0) {
    const existing = named.filter((file) => existsSync(file));
    return readFiles(existing.length > 0 ? existing : named.slice(0, 1));
  }
  const own = path.join(homedir(), '.kube', 'config');
  if (existsSync(own)) return readFiles([own]);
  throw new UserError(`No cluster to talk to: no kubeconfig was given, ${own} does not exist, and this is not a pod`, {
    kind: 'not_found',
    reason: 'NoKubeconfig',
  });
}

/** The first file that sets the current context wins, as with kubectl. */
function readFiles(files: readonly string[]): KubeConfig {
  const merged = new TokenFileKubeConfig();
  for (const [index, file] of files.entries()) {
    try {
      if (index === 0) {
        merged.loadFromFile(file);
        continue;
      }
      const next = new TokenFileKubeConfig();
      next.loadFromFile(file);
      merged.mergeConfig(next, merged.getCurrentContext() !== undefined);
    } catch (error) {
      throw new UserError(`Cannot read the kubeconfig ${file}: ${toError(error).message}`, {
        reason: 'UnreadableKubeconfig',
        cause: error,
      });
    }
  }
  return merged;
}

interface TokenFileDocument {
  readonly users?: readonly { readonly name?: string; readonly user?: { readonly tokenFile?: string } }[];
}

/**
 * client-node does not know the kubeconfig key `tokenFile`; its own authenticator for service account tokens reads and
 * re-reads such a file. As in client-go, the file wins over `token`.
 */
class TokenFileKubeConfig extends KubeConfig {
  override loadFromString(...[text, options]: Parameters<KubeConfig['loadFromString']>): void {
    super.loadFromString(text, options);
    const document = load(text) as TokenFileDocument;
    const files = new Map((document.users ?? []).map((entry) => [entry.name, entry.user?.tokenFile]));
    this.users = this.users.map((user) => {
      const tokenFile = files.get(user.name);
      if (tokenFile === undefined) return user;
      const { token: _, ...rest } = user;
      return { ...rest, authProvider: { name: 'tokenFile', config: { tokenFile } } };
    });
  }

  override makePathsAbsolute(rootDirectory: string): void {
    super.makePathsAbsolute(rootDirectory);
    for (const user of this.users) {
      const config = (user.authProvider as { config?: { tokenFile?: string } } | undefined)?.config;
      if (config?.tokenFile !== undefined) config.tokenFile = path.resolve(rootDirectory, config.tokenFile);
    }
  }
}

interface ExecConfig {
  readonly apiVersion?: string;
  readonly provideClusterInfo?: boolean;
  env?: { name: string; value: string }[] | null;
}

/**
 * Credential plugins read `KUBERNETES_EXEC_INFO`, which client-node does not set;
 * see https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */
function tellPluginAboutItself(config: KubeConfig): void {
  const exec = config.getCurrentUser()?.exec as ExecConfig | null | undefined;
  const cluster = config.getCurrentCluster();
  if (exec === null || exec === undefined || cluster === null) return;
  const info = {
    kind: 'ExecCredential',
    apiVersion: exec.apiVersion ?? 'client.authentication.k8s.io/v1',
    spec: {
      interactive: false,
      ...(exec.provideClusterInfo === true
        ? {
            cluster: {
              server: cluster.server,
              'certificate-authority-data': cluster.caData,
              'tls-server-name': cluster.tlsServerName,
              'insecure-skip-tls-verify': cluster.skipTLSVerify,
            },
          }
        : {}),
    },
  };
  exec.env = [...(exec.env ?? []), { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }];
}
