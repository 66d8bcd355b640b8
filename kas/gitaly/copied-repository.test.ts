import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '../../lib/log.ts';
import { repositoryProblem } from '../change-detection/ref-state.ts';
import { startGitServer } from '../gitserver/app.ts';
import { parseGitServerConfig } from '../gitserver/config.ts';
import { RemoteHost } from '../gitserver/testing/remote-host.ts';
import { WorkTree } from '../gitserver/testing/work-tree.ts';
import { GitalyClientPool } from './gitaly-client-pool.ts';

const signal = AbortSignal.timeout(60_000);
const RATE = { refillPerSecond: 1_000, bucketSize: 1_000 };

test('kas reads a repository of another host through its copy, and people are told what stands in the way', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'copied-'));
  stack.defer(async () => await rm(folder, { recursive: true, force: true }));
  const host = stack.use(await RemoteHost.start(folder));
  const work = await WorkTree.create(folder);
  await work.write('a.yaml', 'kind: A\n');
  const first = await work.commit('first');
  await work.push(host.repositoryPath);
  await writeFile(join(folder, 'token'), 'an old token');
  await writeFile(join(folder, 'ca.crt'), host.certificate);
  const config = {
    listen: { grpc: '127.0.0.1:0', http: '127.0.0.1:0' },
    storages: [{ name: 'default', path: 'copies' }],
    projects: [{ relative_path: 'shop/web.git', remote: { url: host.url, token_file: 'token', ca_certificate_file: 'ca.crt' } }],
  };
  const text = JSON.stringify(config);
  const server = await startGitServer(parseGitServerConfig(text, join(folder, 'config.yaml')), createLogger('test', 'error'));
  stack.defer(async () => await server.stop());
  const pool = stack.adopt(new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE }), (open) => open.close());
  const repository = pool.repository({
    gitaly: { address: `tcp://127.0.0.1:${server.grpcAddress.port}`, token: '' },
    storageName: 'default',
    relativePath: 'shop/web.git',
    glRepository: '',
    glProjectPath: 'shop/web',
  });

  const refused = await repository.refs(signal).catch((error: unknown) => error);
  expect(repositoryProblem(refused)).toMatchObject({
    reason: 'RemoteAuthenticationFailed',
    message: `The remote ${host.url} refuses the credential: check that it is still valid and may read the repository.`,
  });
  await writeFile(join(folder, 'token'), host.token);
  expect((await repository.refs(signal)).refs.get('refs/heads/main')).toBe(first);

  await work.write('a.yaml', 'kind: B\n');
  const second = await work.commit('second');
  await work.push(host.repositoryPath);
  expect((await repository.refs(signal)).refs.get('refs/heads/main')).toBe(second);
  const file = await repository.file(second, 'a.yaml', 1_000, signal);
  expect(String(file?.data)).toBe('kind: B\n');
});
