import type { CallContext } from '../../lib/grpc/serve.ts';
import { pieces } from '../../lib/pieces.ts';
import type { InfoRefsRequest, InfoRefsResponse } from '../../proto/gen/gitaly/smarthttp.ts';
import type { Mirrors } from './mirrors.ts';
import { CHUNK_BYTES } from './object-store.ts';
import { advertiseRefs } from './refs-advertisement.ts';
import { requestedRepository } from './request-checks.ts';
import type { Storages } from './storages.ts';

/** `gitaly.SmartHTTPService`, as far as kas calls it. */
export class SmartHttpService {
  readonly #storages: Storages;
  readonly #mirrors: Mirrors;

  constructor(storages: Storages, mirrors: Mirrors) {
    this.#storages = storages;
    this.#mirrors = mirrors;
  }

  /** All refs at this moment, those of a copy's remote included, as `git upload-pack` advertises them over HTTP. */
  async *infoRefsUploadPack(request: InfoRefsRequest, { signal }: CallContext): AsyncGenerator<InfoRefsResponse, void, void> {
    const repository = await requestedRepository(this.#storages, request.repository);
    await this.#mirrors.refresh(repository, signal);
    const options = { protocol: request.gitProtocol, config: request.gitConfigOptions };
    for await (const data of advertiseRefs('upload-pack', repository, options, signal))
      for (const piece of pieces(data, CHUNK_BYTES)) yield { data: piece };
  }
}
