import { type SimpleGit, simpleGit } from 'simple-git';
import { gitEnvironment } from './git-process.ts';

/**
 * simple-git in a folder, kept off the machine's configuration. The library counts these very settings among the unsafe
 * ones; here they come from us and never from a caller.
 */
export function isolatedGit(folder: string): SimpleGit {
  const environment = gitEnvironment();
  return simpleGit({
    baseDir: folder,
    allowEnvironment: Object.keys(environment),
    unsafe: { allowUnsafeConfigPaths: true, allowUnsafeConfigEnvCount: true, allowUnsafeTemplateDir: true },
  }).env(environment);
}
