import { createHash } from 'node:crypto';
import type { RepositoryLocation } from '../../registry/registry.ts';
import type { GitalyRepository } from '../gitaly-repository.ts';

export const REPOSITORY = '@recorded/repository.git';

/** The repository of the recordings; also what GitLab says of one behind Praefect, whose storage has another name. */
export function recordedLocation(address: string, token: string): RepositoryLocation {
  return {
    gitaly: { address, token, features: { 'gitaly-feature-recorded': 'true', 'not-a-feature': 'x' } },
    storageName: 'default',
    relativePath: REPOSITORY,
    glRepository: 'project-1',
    glProjectPath: 'team/recorded',
  };
}

export interface RecordedCall {
  readonly name: string;
  /** What is to be compared, as JSON. */
  readonly run: (repository: GitalyRepository, commit: string, signal: AbortSignal) => Promise<unknown>;
}

const sha = (data: Buffer | undefined): string | undefined =>
  data === undefined ? undefined : createHash('sha256').update(data).digest('hex').slice(0, 16);

/** The calls that are recorded, in this order, on one connection. */
export const CALLS: readonly RecordedCall[] = [
  {
    name: 'refs',
    run: async (repository, _, signal) => {
      const { headTarget } = await repository.refs(signal);
      return { headTarget };
    },
  },
  { name: 'default branch', run: async (repository, _, signal) => ({ branch: await repository.defaultBranch(signal) }) },
  { name: 'a folder', run: async (repository, commit, signal) => (await repository.files(commit, 'dir', true, signal)) ?? null },
  {
    name: 'a folder that is not there',
    run: async (repository, commit, signal) => (await repository.folder(commit, 'gone', signal)) ?? null,
  },
  {
    name: 'a commit that is not there',
    run: async (repository, _, signal) => (await repository.files('1'.repeat(40), '.', true, signal)) ?? null,
  },
  {
    name: 'a file in several pieces',
    run: async (repository, commit, signal) => {
      const blob = await repository.file(commit, 'dir/pieces', 1 << 20, signal);
      return { size: blob?.sizeBytes, sha: sha(blob?.data) };
    },
  },
  {
    name: 'a file over the limit',
    run: async (repository, commit, signal) => {
      const blob = await repository.file(commit, 'dir/pieces', 10, signal);
      return { size: blob?.sizeBytes, read: blob?.data !== undefined };
    },
  },
  {
    name: 'a file that is not there',
    run: async (repository, commit, signal) => (await repository.file(commit, 'gone', 10, signal)) ?? null,
  },
  {
    name: 'a folder as a file',
    run: async (repository, commit, signal) => (await repository.file(commit, 'dir', 10, signal)) ?? null,
  },
  {
    name: 'many files in one call',
    run: async (repository, commit, signal) => {
      const read: unknown[] = [];
      for await (const blob of repository.blobs(commit, ['a.yaml', 'dir/b.yaml', 'dir/pieces'], 1 << 20, signal))
        read.push({ size: blob.sizeBytes, sha: sha(blob.data) });
      return read;
    },
  },
];
