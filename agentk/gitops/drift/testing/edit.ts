import { waitUntil } from '../../../../test/harness/wait-until.ts';
import type { LiveObject } from '../../../kube/cluster.ts';
import type { Verdict } from '../judge.ts';
import type { PatchKind, RawApi } from './raw-api.ts';
import type { SubjectName } from './subjects.ts';

/** The manager by whose name the agent applies in the tests. */
export const agentManager = 'agentk-1';

export interface EditedObject {
  readonly api: RawApi;
  readonly path: string;
  readonly manifest: Readonly<Record<string, unknown>>;
  /** As the agent's apply answered. */
  readonly applied: LiveObject;
}

export type Edit = (object: EditedObject) => Promise<unknown>;

/** A change of a live object and what the agent must make of it. */
export interface LiveEdit {
  readonly subject: SubjectName;
  readonly title: string;
  readonly edit: Edit;
  readonly verdict: Verdict['kind'];
  /** As reported to people; empty unless drifted. */
  readonly paths: readonly string[];
  /** Who is named; `kubectl-edit` unless given, `nobody` when the edit leaves no trace. */
  readonly by?: string;
}

export const person = 'kubectl-edit';

export function patch(kind: PatchKind, body: unknown, manager = person, subresource = ''): Edit {
  return async ({ api, path }) => await api.patch(`${path}${subresource}`, manager, kind, body);
}

export const merge = (body: unknown, manager?: string): Edit => patch('merge', body, manager);
export const strategic = (body: unknown, manager?: string): Edit => patch('strategic', body, manager);
export const json = (...operations: readonly unknown[]): Edit => patch('json', operations);

/** Applies what `change` makes of the agent's manifest, under the agent's name. */
export function applyAsUs(change: (manifest: EditableObject) => void): Edit {
  return async ({ api, path, manifest }) => {
    const copy = structuredClone(manifest) as EditableObject;
    change(copy);
    // managedFields has times to the second: an apply in the same second is only told by its values.
    await nextSecond();
    return await api.patch(path, agentManager, 'apply', copy);
  };
}

/** Replaces the live object by what `change` makes of it, again when a controller got in between. */
export function replace(change: (object: EditableObject) => void, manager = person): Edit {
  return async ({ api, path }) => {
    const attempt = async (): Promise<LiveObject> => {
      const live = structuredClone(await api.get(path)) as unknown as EditableObject;
      change(live);
      return await api.replace(path, manager, live);
    };
    return await waitUntil(attempt, { what: 'the object to be replaced', intervalMs: 5 });
  };
}

export function inTurn(...edits: readonly Edit[]): Edit {
  return async (object) => {
    for (const edit of edits) await edit(object);
  };
}

// Edits reach into objects of every kind.
// oxlint-disable-next-line typescript/no-explicit-any
export type EditableObject = any;

export async function nextSecond(): Promise<void> {
  const now = Date.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, 1010 - (now % 1000));
  await promise;
}

export const none = async (): Promise<void> => undefined;

export const drifted = (subject: SubjectName, title: string, edit: Edit, paths: readonly string[], by?: string): LiveEdit => ({
  subject,
  title,
  edit,
  verdict: 'drifted',
  paths,
  ...(by === undefined ? {} : { by }),
});
export const other = (subject: SubjectName, title: string, verdict: Verdict['kind'], edit: Edit): LiveEdit => ({
  subject,
  title,
  edit,
  verdict,
  paths: [],
});
