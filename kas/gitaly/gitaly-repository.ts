import { Metadata } from '@grpc/grpc-js';
import { UnavailableError, UserError } from '../../lib/errors.ts';
import { signGitalyToken } from '../../lib/gitaly-token.ts';
import { type CallSettings, callServerStream, callUnary } from '../../lib/grpc/call.ts';
import type { GetBlobsResponse } from '../../proto/gen/gitaly/blob.ts';
import { TreeEntry_EntryType, TreeEntryResponse_ObjectType } from '../../proto/gen/gitaly/commit.ts';
import { ObjectType, type Repository } from '../../proto/gen/gitaly/shared.ts';
import type { RepositoryLocation } from '../registry/registry.ts';
import type { GitalyMethod, GitalyServer } from './gitaly-server.ts';
import { type AdvertisedRefs, parseInfoRefs } from './info-refs.ts';

/** A file of a tree. */
export interface FileEntry {
  /** From the repository's root. */
  readonly path: string;
  /** Object id of its content. */
  readonly oid: string;
  /** Git's file mode: 0o100644, 0o100755, 0o120000 (symbolic link). */
  readonly mode: number;
}

/** What is in a folder, that below its sub-folders not included. Paths are from the repository's root. */
export interface Folder {
  readonly files: readonly FileEntry[];
  /** Object ids of the trees by path. */
  readonly folders: ReadonlyMap<string, string>;
}

/** A blob, or how big it would be when it is over the limit it was read with. */
export type Blob =
  | { readonly data: Buffer; readonly sizeBytes: number }
  | { readonly data: undefined; readonly sizeBytes: number };

const CALL_TIMEOUT_MS = 60_000;
/** What GitLab may have put into the metadata of calls: flags of Gitaly, nothing else. */
const FEATURE = /^gitaly-feature-[a-z0-9_-]+$/;
const FILES_IN_FLIGHT = 16;
/** About a million refs. */
const MAX_REFS_BYTES = 128 << 20;
/** Half a million files with paths of 60 bytes. */
const MAX_LISTING_BYTES = 64 << 20;
const ENTRY_BYTES = 64;

/**
 * Reads one repository over Gitaly's RPCs. Every call waits for its turn and the rate limits, carries a fresh token and has a deadline.
 * Errors: UserError `not_found` (repository or revision), `unauthenticated` and `forbidden` (Gitaly's token);
 * UnavailableError when the server cannot be reached, is overloaded or slow.
 */
export class GitalyRepository {
  readonly #server: GitalyServer;
  readonly #location: RepositoryLocation;

  constructor(server: GitalyServer, location: RepositoryLocation) {
    this.#server = server;
    this.#location = location;
  }

  /** All refs of the repository. Sends the repository only, since anything else turns off Gitaly's cache of this answer. */
  async refs(signal: AbortSignal): Promise<AdvertisedRefs> {
    const { smartHttp } = this.#server;
    const chunks: Buffer[] = [];
    let bytes = 0;
    const request = { repository: this.#repository(), gitConfigOptions: [], gitProtocol: '' };
    using call = await this.#admit('infoRefsUploadPack', signal);
    const stream = callServerStream(smartHttp.infoRefsUploadPack.bind(smartHttp), request, call.settings, signal);
    for await (const { data } of translated(stream)) {
      bytes += data.length;
      if (bytes > MAX_REFS_BYTES)
        throw new UserError(`The list of refs is over ${MAX_REFS_BYTES} bytes: delete refs that nobody needs.`, {
          kind: 'precondition',
          reason: 'TooManyRefs',
        });
      chunks.push(data);
    }
    return parseInfoRefs(Buffer.concat(chunks));
  }

  /** Full name of the branch that the server takes for the default one; undefined when there is no branch. */
  async defaultBranch(signal: AbortSignal): Promise<string | undefined> {
    const { refs } = this.#server;
    using call = await this.#admit('findDefaultBranchName', signal);
    const request = { repository: this.#repository(), headOnly: false };
    const answer = await callUnary(refs.findDefaultBranchName.bind(refs), request, call.settings, signal).catch(rethrow);
    return answer.name.length === 0 ? undefined : answer.name.toString('utf8');
  }

  /**
   * The files below `folder` (`.` is the root), those of sub-folders included when `recursive`. Submodules are left out.
   * Undefined when Gitaly knows no such commit, or no such folder in it. UserError `TreeTooLarge` for more than can be listed.
   */
  async files(commitId: string, folder: string, recursive: boolean, signal: AbortSignal): Promise<FileEntry[] | undefined> {
    const listed = await this.#list(commitId, folder, recursive, signal);
    return listed === undefined ? undefined : listed.files;
  }

  /** What is directly in a folder; undefined as `files`. UserError `TreeTooLarge`. */
  async folder(commitId: string, folder: string, signal: AbortSignal): Promise<Folder | undefined> {
    const listed = await this.#list(commitId, folder, false, signal);
    // Some releases of Gitaly answer nothing for a folder that is not there; Git has no empty folders.
    return listed === undefined || listed.files.length + listed.folders.size === 0 ? undefined : listed;
  }

  async #list(
    commitId: string,
    folder: string,
    recursive: boolean,
    signal: AbortSignal,
  ): Promise<{ files: FileEntry[]; folders: Map<string, string> } | undefined> {
    const { commits } = this.#server;
    using call = await this.#admit('getTreeEntries', signal);
    const request = {
      repository: this.#repository(),
      revision: Buffer.from(commitId),
      path: Buffer.from(folder),
      recursive,
      sort: 0 as const,
      paginationParams: undefined,
      skipFlatPaths: true,
    };
    const files: FileEntry[] = [];
    const folders = new Map<string, string>();
    let bytes = 0;
    try {
      for await (const { entries } of translated(
        callServerStream(commits.getTreeEntries.bind(commits), request, call.settings, signal),
      ))
        for (const { type, path, oid, mode } of entries) {
          bytes += path.length + ENTRY_BYTES;
          if (bytes > MAX_LISTING_BYTES) throw treeTooLarge(folder);
          if (type === TreeEntry_EntryType.BLOB) files.push({ path: path.toString('utf8'), oid, mode });
          else if (type === TreeEntry_EntryType.TREE) folders.set(path.toString('utf8'), oid);
        }
    } catch (error) {
      // Releases of Gitaly differ: nothing at all, NOT_FOUND, or INVALID_ARGUMENT for a path that is not there.
      if (error instanceof UserError && (error.kind === 'not_found' || error.kind === 'invalid')) return undefined;
      throw error;
    }
    return { files, folders };
  }

  /**
   * Reads files of a commit, in the order asked for: in one call, or one by one from a Gitaly that cannot do that. A file
   * over `maxBytes` comes without its data. UserError `FileNotFound` for what is not a file of the commit.
   */
  async *blobs(
    commitId: string,
    paths: readonly string[],
    maxBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Blob, void, void> {
    if (!this.#server.lacksGetBlobs) {
      try {
        yield* this.#blobsInOneCall(commitId, paths, maxBytes, signal);
        return;
      } catch (error) {
        // It says so before anything else.
        if (!(error instanceof UserError) || error.kind !== 'unimplemented') throw error;
        this.#server.lacksGetBlobs = true;
      }
    }
    for (let start = 0; start < paths.length; start += FILES_IN_FLIGHT) {
      const some = paths.slice(start, start + FILES_IN_FLIGHT);
      yield* await Promise.all(some.map((path) => this.#fileOfBatch(commitId, path, maxBytes, signal)));
    }
  }

  async #fileOfBatch(commitId: string, path: string, maxBytes: number, signal: AbortSignal): Promise<Blob> {
    const blob = await this.file(commitId, path, maxBytes, signal);
    if (blob === undefined) throw fileNotFound(path);
    return blob;
  }

  async *#blobsInOneCall(
    commitId: string,
    paths: readonly string[],
    maxBytes: number,
    signal: AbortSignal,
  ): AsyncGenerator<Blob, void, void> {
    const { blobs } = this.#server;
    using call = await this.#admit('getBlobs', signal);
    const request = {
      repository: this.#repository(),
      revisionPaths: paths.map((path) => ({ revision: commitId, path: Buffer.from(path) })),
      limit: BigInt(maxBytes),
    };
    let index = 0;
    let current: PendingBlob | undefined;
    for await (const message of translated(callServerStream(blobs.getBlobs.bind(blobs), request, call.settings, signal))) {
      if (message.oid === '' && message.revision === '') {
        current?.chunks.push(message.data);
        continue;
      }
      if (current !== undefined) yield this.#finish(current, maxBytes);
      current = begin(message, paths[index]);
      index += 1;
    }
    if (current !== undefined) yield this.#finish(current, maxBytes);
    if (index !== paths.length) throw new UnavailableError(`Gitaly sent ${index} of ${paths.length} files`);
  }

  /** One file, without its data when it is over `maxBytes`; undefined when the commit has no such file. */
  async file(revision: string, path: string, maxBytes: number, signal: AbortSignal): Promise<Blob | undefined> {
    const { commits } = this.#server;
    using call = await this.#admit('treeEntry', signal);
    // One byte more than allowed shows that a file is over the limit, without reading the rest. `max_size` would
    // answer the same by an error, but means "no limit" when it is 0.
    const request = {
      repository: this.#repository(),
      revision: Buffer.from(revision),
      path: Buffer.from(path),
      limit: BigInt(maxBytes + 1),
      maxSize: 0n,
    };
    const chunks: Buffer[] = [];
    let size: number | undefined;
    try {
      for await (const message of translated(callServerStream(commits.treeEntry.bind(commits), request, call.settings, signal))) {
        // Only the first message tells what it is. A missing path was an empty answer of type COMMIT before Gitaly 14.
        if (size === undefined) {
          if (message.type !== TreeEntryResponse_ObjectType.BLOB) return undefined;
          size = Number(message.size);
        }
        chunks.push(message.data);
      }
    } catch (error) {
      if (error instanceof UserError && error.kind === 'not_found') return undefined;
      throw error;
    }
    if (size === undefined) return undefined;
    return this.#finish({ path, sizeBytes: size, chunks }, maxBytes);
  }

  #finish(blob: PendingBlob, maxBytes: number): Blob {
    this.#server.metrics.blobRead();
    return finish(blob, maxBytes);
  }

  /** The call lasts until it is disposed of. */
  async #admit(method: GitalyMethod, signal: AbortSignal): Promise<Disposable & { readonly settings: CallSettings }> {
    const turn = await this.#server.admit(this.#location, signal);
    this.#server.metrics.called(method);
    const metadata = new Metadata();
    const { token, features = {} } = this.#location.gitaly;
    if (token !== '') metadata.set('authorization', signGitalyToken(token));
    for (const [name, value] of Object.entries(features)) if (FEATURE.test(name)) metadata.set(name, value);
    return { settings: { metadata, timeoutMs: CALL_TIMEOUT_MS }, [Symbol.dispose]: () => turn[Symbol.dispose]() };
  }

  #repository(): Repository {
    return {
      storageName: this.#location.storageName,
      relativePath: this.#location.relativePath,
      gitObjectDirectory: '',
      gitAlternateObjectDirectories: [],
      glRepository: this.#location.glRepository,
      glProjectPath: this.#location.glProjectPath,
    };
  }
}

interface PendingBlob {
  readonly path: string;
  readonly sizeBytes: number;
  readonly chunks: Buffer[];
}

function begin(message: GetBlobsResponse, path: string | undefined): PendingBlob {
  if (path === undefined || message.path.toString('utf8') !== path)
    throw new UnavailableError('Gitaly sent a file that was not asked for');
  if (message.oid === '' || message.type !== ObjectType.BLOB) throw fileNotFound(path);
  return { path, sizeBytes: Number(message.size), chunks: [message.data] };
}

function treeTooLarge(folder: string): UserError {
  const where = folder === '.' ? 'The repository' : `The folder ${folder}`;
  return new UserError(`${where} has too many files to list: use globs that begin with narrower folders.`, {
    kind: 'precondition',
    reason: 'TreeTooLarge',
  });
}

function fileNotFound(path: string): UserError {
  return new UserError(`${path} is not a file of this commit.`, { kind: 'not_found', reason: 'FileNotFound' });
}

function finish({ path, sizeBytes, chunks }: PendingBlob, maxBytes: number): Blob {
  if (sizeBytes > maxBytes) return { data: undefined, sizeBytes };
  const [only] = chunks;
  const data = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
  if (data.length !== sizeBytes) throw new UnavailableError(`Gitaly sent ${data.length} of ${sizeBytes} bytes of ${path}`);
  return { data, sizeBytes };
}

async function* translated<T>(stream: AsyncIterable<T>): AsyncGenerator<T, void, void> {
  try {
    yield* stream;
  } catch (error) {
    rethrow(error);
  }
}

/** Gitaly says RESOURCE_EXHAUSTED when it has too many calls to answer: nothing a user can change. */
function rethrow(error: unknown): never {
  if (error instanceof UserError && error.kind === 'exhausted') throw new UnavailableError(error.message, { cause: error });
  throw error;
}
