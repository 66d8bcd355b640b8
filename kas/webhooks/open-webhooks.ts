import { readFile } from 'node:fs/promises';
import { toError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { PushListener } from '../api-server/notifications-service.ts';
import type { WebhooksConfig } from '../config/kas-config.ts';
import type { PushedTo } from './push-events.ts';
import { isUsableSecret } from './signatures.ts';
import { WebhookServer, type WebhookSource } from './webhook-server.ts';

/** Projects by the address of their repository at a Git host (see `repositoryUrlKey`). */
export interface RemoteProjects {
  projectsAt(urlKey: string): readonly string[];
}

interface OpenWebhooksDeps {
  readonly pushes: PushListener;
  /** Undefined where a project's path is the one that the host has. */
  readonly remotes: RemoteProjects | undefined;
  readonly log: Logger;
}

/** The server of webhooks, where one is configured. UserError when a secret cannot be read. */
export async function openWebhooks(
  config: WebhooksConfig | undefined,
  deps: OpenWebhooksDeps,
): Promise<readonly WebhookServer[]> {
  if (config === undefined) return [];
  const { pushes, remotes, log } = deps;
  const sources = await Promise.all(config.sources.map(readSource));
  const onPush = async ({ paths, urlKeys }: PushedTo): Promise<void> => {
    const projects = new Set([...paths, ...urlKeys.flatMap((key) => remotes?.projectsAt(key) ?? [])]);
    await Promise.all([...projects].map(async (project) => await pushes.notifyPush({ project })));
  };
  return [new WebhookServer({ ...config.listen, sources, maxBodyBytes: config.maxBodyBytes, log, onPush })];
}

async function readSource({ name, host, secretFile }: WebhooksConfig['sources'][number]): Promise<WebhookSource> {
  try {
    const secret = (await readFile(secretFile, 'utf8')).trim();
    if (isUsableSecret(host, secret)) return { name, host, secret };
  } catch (error) {
    throw new UserError(`Cannot read the secret of webhook "${name}": ${toError(error).message}`, { cause: error });
  }
  throw new UserError(`${secretFile} is empty or cut off; put the whole secret of webhook "${name}" into it`);
}
