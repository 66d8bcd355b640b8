import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';

/** What plain HTTPS requests to an API server need. Destroy the agent when done. */
export interface KubeHttps {
  readonly server: URL;
  readonly agent: Agent;
  readonly headers: Readonly<Record<string, string>>;
}

/** The way to the cluster of a kubeconfig's current context, apart from all code under test. */
export function kubeHttps(kubeconfigPath: string): KubeHttps {
  const config = new KubeConfig();
  config.loadFromString(readFileSync(kubeconfigPath, 'utf8'));
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  if (cluster === null || user === null) throw new Error(`${kubeconfigPath} has no current context`);
  return {
    server: new URL(cluster.server),
    headers: user.token === undefined ? {} : { authorization: `Bearer ${user.token}` },
    agent: new Agent({
      keepAlive: true,
      ca: pem(cluster.caData, cluster.caFile),
      cert: pem(user.certData, user.certFile),
      key: pem(user.keyData, user.keyFile),
    }),
  };
}

function pem(data: string | undefined, file: string | undefined): Buffer | undefined {
  if (data !== undefined) return Buffer.from(data, 'base64');
  return file === undefined ? undefined : readFileSync(file);
}
