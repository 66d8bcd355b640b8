import type { ObjectId } from '../object-id.ts';
import type { SourceProblem } from '../source-problem.ts';
import { describeType, Mapping, type Value } from './manifest-value.ts';

const ownedByServer = ['creationTimestamp', 'generation', 'managedFields', 'resourceVersion', 'selfLink', 'uid'];

type Finding = Pick<SourceProblem, 'severity' | 'reason' | 'message'>;

/**
 * Changes a decoded object in place into what can be applied: fields that only the API server sets are dropped, and a Secret's
 * `stringData` becomes `data`, so that what was applied can be compared with what is there.
 */
export function normalize(object: Mapping, id: ObjectId): Finding[] {
  const dropped = [...dropServerFields(object.get('metadata')), ...dropStatus(object)];
  const findings: Finding[] = [];
  if (dropped.length > 0) {
    const message = `only the API server sets ${dropped.join(', ')}, which were left out; remove them from the file`;
    findings.push({ severity: 'warning', reason: 'StrippedFields', message });
  }
  if (id.group === '' && id.kind === 'Secret') findings.push(...mergeStringData(object));
  return findings;
}

function dropServerFields(metadata: Value | undefined): string[] {
  if (!(metadata instanceof Mapping)) return [];
  return ownedByServer.flatMap((name) => {
    const value = metadata.get(name);
    metadata.members.delete(name);
    return value === undefined || isEmpty(value) ? [] : [`metadata.${name}`];
  });
}

function dropStatus(object: Mapping): string[] {
  const status = object.get('status');
  object.members.delete('status');
  return status === undefined || isEmpty(status) ? [] : ['status'];
}

/** Generators write such placeholders; nobody meant anything by them. */
function isEmpty(value: Value): boolean {
  if (Array.isArray(value)) return value.every(isEmpty);
  if (value instanceof Mapping) return [...value.members.values()].every(isEmpty);
  return value === null || value === '';
}

function mergeStringData(secret: Mapping): Finding[] {
  const stringData = secret.get('stringData');
  if (stringData === undefined) return [];
  const data = secret.get('data') ?? new Mapping(secret.offset);
  if (stringData !== null && !(stringData instanceof Mapping)) return [invalid('stringData', stringData, 'a mapping of text')];
  if (!(data instanceof Mapping)) return [invalid('data', data, 'a mapping of base64 text')];
  const entries = [...(stringData?.members ?? [])];
  const wrong = entries.filter(([, value]) => typeof value !== 'string' && value !== null);
  if (wrong.length > 0) return wrong.map(([key, value]) => invalid(`stringData["${key}"]`, value, 'text; put it in quotes'));
  for (const [key, value] of entries) {
    data.members.set(key, Buffer.from(typeof value === 'string' ? value : '').toString('base64'));
  }
  secret.members.delete('stringData');
  if (data.members.size > 0) secret.members.set('data', data);
  return [];
}

function invalid(field: string, value: Value, wanted: string): Finding {
  return { severity: 'error', reason: 'InvalidSecret', message: `${field} is ${describeType(value)}, but must be ${wanted}` };
}
