import type { LiveObject, ResourceType } from './cluster.ts';
import type { KubeClient } from './kube-client.ts';
import { KubeError } from './kube-error.ts';
import { collectionPath, type Query } from './resource-path.ts';

interface List {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly LiveObject[] | null;
}

export interface ListPage {
  readonly objects: readonly LiveObject[];
  /** From where a watch continues; of the whole list on every page. */
  readonly resourceVersion: string;
  /** The list began anew, because the server no longer knows how to continue it: what came before is void. */
  readonly restarted: boolean;
}

const PAGE_SIZE = 500;

/** Pages of a consistent list. */
export async function* listPages(
  client: KubeClient,
  type: ResourceType,
  namespace: string,
  query: Query,
  signal: AbortSignal,
): AsyncGenerator<ListPage> {
  let token: string | undefined;
  let restarted = false;
  do {
    // A list that expired while it was read is read again at one go, which cannot expire.
    const paging = restarted ? {} : { limit: PAGE_SIZE, continue: token };
    const path = collectionPath(type, namespace, { ...query, ...paging });
    try {
      const list = JSON.parse((await client.read({ method: 'GET', path }, signal)).body.toString('utf8')) as List;
      token = list.metadata?.continue === '' ? undefined : list.metadata?.continue;
      const objects = (list.items ?? []).map((object) => withType(object, type));
      yield { objects, resourceVersion: list.metadata?.resourceVersion ?? '', restarted };
    } catch (error) {
      if (!(error instanceof KubeError) || error.code !== 410 || token === undefined) throw error;
      restarted = true;
    }
  } while (token !== undefined);
}

/** Items of built-in kinds' lists carry neither kind nor apiVersion. */
function withType(object: LiveObject, type: ResourceType): LiveObject {
  if (object.kind !== undefined) return object;
  return { ...object, kind: type.kind, apiVersion: type.group === '' ? type.version : `${type.group}/${type.version}` };
}
