export type { HelmChart, RenderChart } from './charts.ts';
export { type ErrorPlace, KustomizeError, type KustomizeErrorCode, type KustomizeErrorDetails } from './errors.ts';
export { type Content, filesOfDirectory, type ReadFile } from './files.ts';
export {
  type BuildObjectsResult,
  type BuildOptions,
  type BuildReport,
  type BuildResult,
  type FileSource,
  type KubernetesObject,
  Kustomize,
  type KustomizeOptions,
} from './kustomize.ts';
export { DEFAULT_LIMITS, type FileLimits, type Limits } from './limits.ts';
