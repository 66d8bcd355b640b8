import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { ConnectProxy } from '../../test/harness/connect-proxy.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { Http2Transport } from './http2-transport.ts';
import { loadKubeConfig } from './kube-config.ts';

interface Parts {
  readonly server?: string;
  readonly cluster?: Record<string, unknown>;
  readonly user?: Record<string, unknown>;
}

describe('loadKubeConfig', () => {
  const shared = useCluster();
  const signal = new AbortController().signal;
  let directory: TempDir;
  let server: string;
  let ca: string;
  let token: string;

  beforeAll(async () => {
    const text = await readFile(shared.kubeconfigPath, 'utf8');
    const value = (key: string): string => new RegExp(`${key}: ([^\\s}]+)`).exec(text)?.[1] ?? '';
    [server, ca, token] = [value('server'), value('certificate-authority-data'), value('token')];
  });

  beforeEach(async () => {
    directory = await createTempDir();
  });

  afterEach(async () => await directory.remove());

  async function write(name: string, text: string): Promise<string> {
    const file = join(directory.path, name);
    await writeFile(file, text, { mode: 0o600 });
    return file;
  }

  /** A kubeconfig of one context; by default it is the administrator's of the test cluster. */
  async function kubeconfig(parts: Parts = {}, name = 'config'): Promise<string> {
    const cluster = { server: parts.server ?? server, ...(parts.cluster ?? { 'certificate-authority-data': ca }) };
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': name,
      contexts: [{ name, context: { cluster: name, user: name } }],
      clusters: [{ name, cluster }],
      users: [{ name, user: parts.user ?? { token } }],
    };
    return await write(name, JSON.stringify(config));
  }

  /** Who the API server takes us for; its own words when it refuses. */
  async function userName(
    file: string,
    transport = new Http2Transport(loadKubeConfig({ kubeconfig: file }), { userAgent: 'test' }),
  ) {
    try {
      const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
      const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' });
      const answer = await transport.request({ method: 'POST', path, contentType: 'application/json', body }, signal);
      const review = JSON.parse(answer.body.toString('utf8')) as { status: { userInfo: { username: string } }; message?: string };
      return review.message ?? review.status.userInfo.username;
    } finally {
      await transport.close();
    }
  }

  async function serviceAccountToken(name: string): Promise<string> {
    const namespace = await shared.namespace();
    await shared.kubectl(['-n', namespace, 'create', 'serviceaccount', name]);
    return (await shared.kubectl(['-n', namespace, 'create', 'token', name])).trim();
  }

  it('takes the named context, or else the current one', async () => {
    const other = await serviceAccountToken('other');
    const file = await kubeconfig();
    const config = JSON.parse(await readFile(file, 'utf8')) as { contexts: unknown[]; users: unknown[] };
    config.contexts.push({ name: 'second', context: { cluster: 'config', user: 'second' } });
    config.users.push({ name: 'second', user: { token: other } });
    await writeFile(file, JSON.stringify(config));
    expect(await userName(file)).toBe('admin');
    const access = loadKubeConfig({ kubeconfig: file, context: 'second' });
    expect(await userName(file, new Http2Transport(access, { userAgent: 'test' }))).toMatch(/^system:serviceaccount:.*:other$/);
  });

  it.each([
    ['a file that is missing', { kubeconfig: '/nowhere/config' }, /Cannot read the kubeconfig \/nowhere\/config: .*ENOENT/],
    ['a context that is not there', { context: 'none' }, /no context "none"/],
  ])('names %s', async (_, options, message) => {
    const file = await kubeconfig();
    const load = () => loadKubeConfig({ kubeconfig: file, ...options });
    expect(load).toThrow(UserError);
    expect(load).toThrow(message);
  });

  it('refuses a server or proxy that it cannot speak to', async () => {
    const plain = await kubeconfig({ server: 'http://127.0.0.1:8080', cluster: { 'insecure-skip-tls-verify': true } });
    expect(() => loadKubeConfig({ kubeconfig: plain })).toThrow(/server must be a URL that starts with https:/);
    const socks = await kubeconfig({ cluster: { 'proxy-url': 'socks5://127.0.0.1:1' } });
    expect(() => loadKubeConfig({ kubeconfig: socks })).toThrow(
      /proxy-url must be a URL that starts with http:\/\/ or https:\/\//,
    );
  });

  it('reads a token file again as soon as the server refuses the token', async () => {
    const tokenFile = await write('token', 'outdated\n');
    const access = loadKubeConfig({ kubeconfig: await kubeconfig({ user: { tokenFile: 'token' } }) });
    expect((await access.credentials(signal)).headers).toEqual({ authorization: 'Bearer outdated' });
    await writeFile(tokenFile, `${token}\n`);
    expect(await userName('', new Http2Transport(access, { userAgent: 'test' }))).toBe('admin');
    expect((await access.credentials(signal)).headers).toEqual({ authorization: `Bearer ${token}` });
  });

  it('hands on the refusal when the token stays wrong', async () => {
    expect(await userName(await kubeconfig({ user: { token: 'wrong' } }))).toBe('Unauthorized');
  });

  it('runs a credential plugin, tells it about the cluster, and runs it again when what it gave is refused', async () => {
    const plugin = await write(
      'plugin.mjs',
      `#!${process.execPath}
       import { appendFileSync } from 'node:fs';
       const { spec, apiVersion } = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
       appendFileSync(${JSON.stringify(join(directory.path, 'runs'))}, spec.cluster.server + '\\n');
       const status = { token: process.env.TOKEN, expirationTimestamp: '2999-01-01T00:00:00Z' };
       console.log(JSON.stringify({ kind: 'ExecCredential', apiVersion, status }));`,
    );
    await chmod(plugin, 0o700);
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: plugin,
      provideClusterInfo: true,
      env: [{ name: 'TOKEN', value: token }],
    };
    const access = loadKubeConfig({ kubeconfig: await kubeconfig({ user: { exec } }) });
    expect(await userName('', new Http2Transport(access, { userAgent: 'test' }))).toBe('admin');
    const refused = await access.credentials(signal);
    expect(await access.credentials(signal)).toBe(refused);
    access.renew(refused);
    access.renew(refused);
    await access.credentials(signal);
    expect(await readFile(join(directory.path, 'runs'), 'utf8')).toBe(`${server}\n${server}\n`);
  });

  it('says what went wrong with a credential plugin', async () => {
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: '/bin/sh',
      args: ['-c', 'echo not logged in >&2; exit 1'],
    };
    const access = loadKubeConfig({ kubeconfig: await kubeconfig({ user: { exec } }) });
    await expect(access.credentials(signal)).rejects.toMatchObject({
      code: 0,
      message: 'No credentials for the API server: not logged in',
    });
  });

  it('sends a user name and password, and offers a client certificate', async () => {
    await write('tls.crt', 'certificate');
    await write('tls.key', 'key');
    const user = { username: 'jo', password: 'pass', 'client-certificate': 'tls.crt', 'client-key': 'tls.key' };
    const credentials = await loadKubeConfig({ kubeconfig: await kubeconfig({ user }) }).credentials(signal);
    expect(credentials.headers).toEqual({ authorization: `Basic ${Buffer.from('jo:pass').toString('base64')}` });
    expect([String(credentials.tls.cert), String(credentials.tls.key)]).toEqual(['certificate', 'key']);
  });

  it('trusts the authority given only, unless told to trust anybody', async () => {
    await expect(userName(await kubeconfig({ cluster: {} }))).rejects.toThrow(
      /Cannot connect to 127\.0\.0\.1:\d+: .*certificate/,
    );
    expect(await userName(await kubeconfig({ cluster: { 'insecure-skip-tls-verify': true } }))).toBe('admin');
  });

  it('verifies the server by the name it is told to', async () => {
    const verified = (name: string) => kubeconfig({ cluster: { 'certificate-authority-data': ca, 'tls-server-name': name } });
    expect(await userName(await verified('kubernetes.default'))).toBe('admin');
    await expect(userName(await verified('elsewhere.example'))).rejects.toThrow(/elsewhere\.example/);
  });

  describe('with a proxy', () => {
    const cluster = (url: string) => ({ 'certificate-authority-data': ca, 'proxy-url': url });

    it('tunnels through it, with its credentials', async () => {
      await using proxy = await ConnectProxy.listen({ authenticate: true });
      const file = await kubeconfig({ cluster: cluster(`http://jo:p%40ss@127.0.0.1:${proxy.port}`) });
      expect(await userName(file)).toBe('admin');
      const authorization = `Basic ${Buffer.from('jo:p@ss').toString('base64')}`;
      expect(proxy.asked).toEqual([{ target: new URL(server).host, authorization }]);
    });

    it('hands on its refusal', async () => {
      await using proxy = await ConnectProxy.listen({ authenticate: true });
      const file = await kubeconfig({ cluster: cluster(`http://127.0.0.1:${proxy.port}`) });
      await expect(userName(file)).rejects.toThrow(/the proxy 127\.0\.0\.1:\d+ answered 407/);
    });

    it('takes the one of the environment where the kubeconfig names none, unless NO_PROXY has the server', async () => {
      await using proxy = await ConnectProxy.listen();
      // A name of the server's certificate that only the proxy can reach.
      const file = await kubeconfig({ server: `https://kubernetes.default:${new URL(server).port}` });
      const env = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` };
      const open = (more: Record<string, string>) =>
        new Http2Transport(loadKubeConfig({ kubeconfig: file }, { ...env, ...more }), { userAgent: 'test' });
      expect(await userName('', open({}))).toBe('admin');
      expect(proxy.asked.map(({ target }) => target)).toEqual([`kubernetes.default:${new URL(server).port}`]);
      await expect(userName('', open({ NO_PROXY: 'kubernetes.default' }))).rejects.toThrow(
        /Cannot connect to kubernetes\.default/,
      );
      expect(proxy.asked).toHaveLength(1);
    });
  });
});
