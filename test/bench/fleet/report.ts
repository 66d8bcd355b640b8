import type { Outcome } from './simulators.ts';

export const MIB = 1 << 20;

/** Throws when an agent did not reach its goal. */
export function complete({ missing, failures }: Outcome, agents: number): void {
  if (missing.length === 0) return;
  const some = missing.slice(0, 5).join(', ');
  throw new Error(`${missing.length} of ${agents} agents are missing, such as ${some}; failures: ${JSON.stringify(failures)}`);
}

/** For people. */
export function told({ bytes, contents, failures }: Outcome): string {
  return `agents were sent ${contents} objects, ${mib(bytes)}; failed attempts: ${JSON.stringify(failures)}`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

/** A ConfigMap of about 1 KiB. */
export function manifest(index: number, version: number): string {
  const data = Object.fromEntries(
    Array.from({ length: 10 }, (_, key) => [`key-${key}`, `value ${key} of object ${index}, ${'x'.repeat(60)}`]),
  );
  return `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: object-${index}\ndata: ${JSON.stringify({ ...data, version: String(version) })}\n`;
}

/** An agent's configuration with these units. */
export function configuration(
  comment: string,
  units: readonly { readonly name: string; readonly project: string; readonly glob: string }[],
): string {
  const entries = units.map(
    ({ name, project, glob }) =>
      `    - name: ${name}\n      id: ${project}\n      default_namespace: default\n      paths: [{ glob: "${glob}" }]\n`,
  );
  return `# ${comment}\ngitops:\n  manifest_projects:\n${entries.join('')}`;
}
