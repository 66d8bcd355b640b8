import type { Desired } from '../desired/desired.ts';
import { readManifest } from '../desired/manifest.ts';
import { bundleObject, configMap, crd, deployment, type Manifest } from '../engine-fixture.ts';
import type { Step, StepKind } from '../plan/plan.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import { prerequisitesOf } from './rehearse-later.ts';

function step(manifest: Manifest, kind: StepKind = 'contact'): Step {
  const object = bundleObject(manifest);
  const { id } = object;
  const desired: Desired = { key: `${id.kind} ${id.name}`, id, object, manifest: readManifest(object), warning: '' };
  return { desired, kind, reason: '', message: '', uid: undefined };
}

const failed = (reason: string): Outcome => ({ action: 'failed', reason, message: '', retry: 'soon' });
const space = (name: string): Manifest => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
const account = (namespace: string): Manifest => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: { name: 's', namespace },
});
const widget: Manifest = { apiVersion: 'example.org/v1', kind: 'Widget', metadata: { name: 'w', namespace: 'new' } };

function find(steps: readonly Step[], reasons: Readonly<Record<string, string>>) {
  const answers = new Map<string, Outcome | 'accepted'>();
  for (const { desired } of steps) {
    const reason = reasons[desired.key];
    answers.set(desired.key, reason === undefined ? 'accepted' : failed(reason));
  }
  const refused = steps.filter(({ desired }) => reasons[desired.key] !== undefined);
  const { deferred, keys } = prerequisitesOf(refused, answers, steps);
  return { deferred: [...deferred], keys: [...keys] };
}

describe('An object is tried later', () => {
  it('when its namespace or its kind comes with the same bundle', () => {
    const steps = [step(space('new')), step(crd('example.org', 'Widget')), step(widget), step(configMap('new', 'a'))];
    expect(find(steps, { 'Widget w': 'NotServed', 'ConfigMap a': 'NamespaceNotFound' })).toEqual({
      deferred: ['Widget w', 'ConfigMap a'],
      keys: ['CustomResourceDefinition widgets.example.org', 'Namespace new'],
    });
  });

  it('when its service account does, and that account needs a namespace of the bundle itself', () => {
    const steps = [step(space('new')), step(account('new')), step(deployment('new', 'app'))];
    expect(find(steps, { 'Deployment app': 'ServiceAccountNotFound' })).toEqual({
      deferred: ['Deployment app'],
      keys: ['ServiceAccount s', 'Namespace new'],
    });
  });

  it('and not when others have to bring what is missing, or when it is wrong itself', () => {
    const steps = [step(space('new')), step(account('other')), step(configMap('new', 'a')), step(configMap('gone', 'b'))];
    const reasons = { 'ConfigMap a': 'Invalid', 'ConfigMap b': 'NamespaceNotFound' };
    expect(find(steps, reasons)).toEqual({ deferred: [], keys: [] });
  });

  it('and not for what is there already', () => {
    const steps = [step(space('new'), 'keep'), step(configMap('new', 'a'))];
    expect(find(steps, { 'ConfigMap a': 'NamespaceNotFound' })).toEqual({ deferred: [], keys: [] });
  });
});
