import { type SimpleGit, type SimpleGitProgressEvent, simpleGit } from 'simple-git';
import { gitEnvironment } from './git-process.ts';

export interface IsolatedGitOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Ends what runs. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (event: SimpleGitProgressEvent) => void;
}

/**
 * simple-git in a folder, kept off the machine's configuration. The library counts these very settings among the unsafe
 * ones; here they come from us and never from a caller.
 */
export function isolatedGit(folder: string, { environment, signal, onProgress }: IsolatedGitOptions = {}): SimpleGit {
  const all = gitEnvironment(environment);
  return simpleGit({
    baseDir: folder,
    allowEnvironment: Object.keys(all),
    unsafe: {
      allowUnsafeConfigPaths: true,
      allowUnsafeConfigEnvCount: true,
      allowUnsafeTemplateDir: true,
      allowUnsafeSshCommand: true,
    },
    ...(signal === undefined ? {} : { abort: signal }),
    ...(onProgress === undefined ? {} : { progress: onProgress }),
  }).env(all);
}
