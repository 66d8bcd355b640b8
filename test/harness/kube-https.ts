import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
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

export interface HttpsQuestion {
  readonly method?: string;
  /** With its query. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly timeoutMs?: number;
}

export interface HttpsAnswer {
  readonly status: number;
  readonly text: string;
}

/** One request, whatever the status of its answer. */
export async function ask(https: KubeHttps, question: HttpsQuestion): Promise<HttpsAnswer> {
  const { method = 'GET', path, body, contentType = 'application/json', accept, timeoutMs = 20_000 } = question;
  const content = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    ...https.headers,
    ...(accept === undefined ? {} : { accept }),
    // Node names no length for the content of a DELETE by itself.
    ...(content === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(content) }),
  };
  const { promise, resolve, reject } = Promise.withResolvers<HttpsAnswer>();
  const options = { method, agent: https.agent, headers, timeout: timeoutMs };
  const call = request(new URL(path, https.server), options, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('error', reject);
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }));
  });
  call.on('timeout', () => call.destroy(new Error(`${method} ${path} timed out`)));
  call.on('error', reject);
  call.end(content);
  return await promise;
}

function pem(data: string | undefined, file: string | undefined): Buffer | undefined {
  if (data !== undefined) return Buffer.from(data, 'base64');
  return file === undefined ? undefined : readFileSync(file);
}
