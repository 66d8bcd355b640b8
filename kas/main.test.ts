import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startProgram } from '../test/harness/process.ts';
import { TestAgent } from './kas-fixture.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kas-main-'));
  await writeFile(join(folder, 'api-secret'), randomBytes(32).toString('base64'));
  await writeFile(
    join(folder, 'registry.yaml'),
    `gitaly_servers: { default: { address: "tcp://127.0.0.1:1" } }
agents: [{ id: 1, name: one, project: team/one }]
projects: [{ path: team/one }]
`,
  );
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function writeConfig(change: (text: string) => string = (text) => text): Promise<string> {
  const file = join(folder, 'kas.yaml');
  const text = `agent: { listen: { address: "127.0.0.1:0" } }
observability: { listen: { address: "127.0.0.1:0" } }
api: { listen: { address: "127.0.0.1:0", authentication_secret_file: api-secret } }
registry: { file: registry.yaml }
`;
  await writeFile(file, change(text));
  return file;
}

async function run(...args: string[]): Promise<{ code: number | null; lines: readonly string[] }> {
  await using program = await startProgram('kas/main.ts', args);
  const { code } = await program.exited;
  return { code, lines: program.lines };
}

test('kas says where it listens, answers status, and stops within two seconds with sessions open', async () => {
  await using program = await startProgram('kas/main.ts', ['--configuration-file', await writeConfig()]);
  const ready = JSON.parse(await program.waitForLine(/"msg":"kas is ready"/)) as Record<string, string>;

  const created = await run('token', 'create', '--registry', join(folder, 'registry.yaml'), '--agent', 'one');
  const token = created.lines.find((line) => line.startsWith('kasagent-'));
  expect(created).toMatchObject({ code: 0, lines: expect.arrayContaining([expect.stringContaining('shown only now')]) });

  using agent = await TestAgent.connect(ready['agentAddress']!, token!);
  await agent.next('welcome');
  const status = ['status', '--api', ready['apiAddress']!, '--secret-file', join(folder, 'api-secret')];
  expect((await run(...status)).code).not.toBe(1);
  const json = await run(...status, '--output', 'json');
  expect(JSON.parse(json.lines.join('\n'))).toEqual(expect.any(Array));
  expect(await run(...status, '--agent', 'nobody')).toMatchObject({
    code: 1,
    lines: [expect.stringContaining('there is no agent "nobody"')],
  });

  const before = performance.now();
  const exit = await program.kill('SIGTERM');
  await agent.ended;
  expect(performance.now() - before).toBeLessThan(5_000);
  expect(exit.code).toBe(0);
});

describe('kas does not start, with one clear line and exit code 1, when', () => {
  it('its configuration has an unknown key', async () => {
    const file = await writeConfig((text) => `${text}nonsense: 1\n`);
    const { code, lines } = await run('serve', '--config', file);
    expect(code).toBe(1);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/kas\.yaml:5.*nonsense/);
  });

  it('the API secret has the wrong length', async () => {
    await writeFile(join(folder, 'api-secret'), randomBytes(16).toString('base64'));
    const { code, lines } = await run('serve', '--config', await writeConfig());
    expect(code).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/api-secret: .*expecting 32 bytes, was 16/)]);
  });

  it('its registry is missing', async () => {
    await rm(join(folder, 'registry.yaml'));
    const { code, lines } = await run('serve', '--config', await writeConfig());
    expect(code).toBe(1);
    expect(lines).toEqual([expect.stringContaining('registry.yaml')]);
  });

  it('a port is taken', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    try {
      const file = await writeConfig((text) =>
        text.replace('agent: { listen: { address: "127.0.0.1:0"', `agent: { listen: { address: "127.0.0.1:${port}"`),
      );
      const { code, lines } = await run('serve', '--config', file);
      expect(code).toBe(1);
      expect(lines).toEqual([expect.stringMatching(`^kas: agent server: cannot listen on 127.0.0.1:${port}: EADDRINUSE`)]);
    } finally {
      taken.close();
    }
  });

  it.each([
    [['serve'], '--config is missing'],
    [['serve', '--wrong'], "Unknown option '--wrong'"],
    [['nonsense'], 'unknown command "nonsense"'],
    [['token', 'create', '--agent', 'one'], '--registry is missing'],
  ])('the command line is %j', async (args, message) => {
    const { code, lines } = await run(...args);
    expect(code).toBe(1);
    expect(lines.join('\n')).toContain(message);
    expect(lines.join('\n')).not.toMatch(/^\s+at /m);
  });
});
