import type { CallContext } from '../../lib/grpc/serve.ts';
import type { FindDefaultBranchNameRequest, FindDefaultBranchNameResponse } from '../../proto/gen/gitaly/ref.ts';
import { gitOutput } from './git-process.ts';
import type { ObjectStore } from './object-store.ts';
import { requestedRepository } from './request-checks.ts';
import type { RepositoryPath, Storages } from './storages.ts';

const CANDIDATES = ['refs/heads/main', 'refs/heads/master'];

/** `gitaly.RefService`, as far as kas calls it. */
export class RefService {
  readonly #storages: Storages;
  readonly #objects: ObjectStore;

  constructor(storages: Storages, objects: ObjectStore) {
    this.#storages = storages;
    this.#objects = objects;
  }

  /**
   * The branch that HEAD names if it has a commit, else main, else master, else the first branch; empty without a branch.
   * With `headOnly` what HEAD names, whether it exists or not. Source: gitlab-org/gitaly v16,
   * internal/gitaly/service/ref/find_default_branch_name.go and internal/git/localrepo/refs.go.
   */
  async findDefaultBranchName(
    request: FindDefaultBranchNameRequest,
    { signal }: CallContext,
  ): Promise<FindDefaultBranchNameResponse> {
    const repository = await requestedRepository(this.#storages, request.repository);
    const head = firstLine(await gitOutput(['--git-dir=.', 'symbolic-ref', 'HEAD'], { cwd: repository.path }, signal));
    if (request.headOnly) return { name: head };
    for (const name of [head, ...CANDIDATES.map((candidate) => Buffer.from(candidate))])
      if (await this.#exists(repository, name, signal)) return { name };
    const list = ['--git-dir=.', 'for-each-ref', '--count=1', '--format=%(refname)', 'refs/heads/'];
    return { name: firstLine(await gitOutput(list, { cwd: repository.path }, signal)) };
  }

  async #exists(repository: RepositoryPath, ref: Buffer, signal: AbortSignal): Promise<boolean> {
    return (await this.#objects.info(repository, ref, signal)) !== undefined;
  }
}

function firstLine(output: Buffer): Buffer {
  const end = output.indexOf('\n');
  return end < 0 ? output : output.subarray(0, end);
}
