import type { Content } from './files.ts';

/** A helm chart that a kustomization wants, in the words of its `helmCharts`. Paths begin at the root of the tree. */
export interface HelmChart {
  readonly name: string;
  readonly version?: string;
  /** Where the chart is to be had; one without is in `chartHome`. */
  readonly repo?: string;
  readonly releaseName?: string;
  /** That of the chart's entry, or else of its kustomization, or of one above it. */
  readonly namespace?: string;
  readonly nameTemplate?: string;
  readonly chartHome: string;
  readonly valuesFile?: string;
  readonly additionalValuesFiles?: readonly string[];
  readonly valuesInline?: Readonly<Record<string, unknown>>;
  readonly valuesMerge?: 'merge' | 'override' | 'replace';
  readonly includeCRDs?: boolean;
  readonly skipHooks?: boolean;
  readonly skipTests?: boolean;
  readonly apiVersions?: readonly string[];
  readonly kubeVersion?: string;
  readonly devel?: boolean;
  readonly debug?: boolean;
}

/**
 * Gives what `helm template` prints for a chart, or undefined for one that is refused. A rejection ends the build with that
 * error.
 */
export type RenderChart = (chart: HelmChart, signal: AbortSignal) => Promise<Content | undefined>;

/** As a person would name it: `minecraft 3.1.3 of https://example.com/charts (release moria, namespace games)`. */
export function nameOfChart({ name, version, repo, releaseName, namespace }: HelmChart): string {
  const target = [
    releaseName === undefined ? undefined : `release ${releaseName}`,
    namespace === undefined ? undefined : `namespace ${namespace}`,
  ].filter((part) => part !== undefined);
  const parts = [name, version, repo === undefined ? undefined : `of ${repo}`];
  if (target.length > 0) parts.push(`(${target.join(', ')})`);
  return parts.filter((part) => part !== undefined).join(' ');
}
