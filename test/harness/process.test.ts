import { isAlive } from '../controlplane/cache-lock.ts';
import { type Program, startProgram } from './process.ts';
import { waitUntil } from './wait-until.ts';

const TALKER = 'test/harness/testdata/talker.ts';

describe('a program', () => {
  let program: Program;

  afterEach(async () => await program[Symbol.asyncDispose]());

  it('gets its arguments and environment, and its lines are kept', async () => {
    program = await startProgram(TALKER, ['a b', '$c'], { env: { COLOUR: 'blue' } });
    expect(await program.waitForLine(/^args/)).toBe('args a b $c');
    expect(await program.waitForLine(/^colour/)).toBe('colour blue');
    expect(await program.stop()).toEqual({ code: 0, signal: null });
    expect(program.lines).toContain('last words without a line feed');
  });

  it('tells how it ended', async () => {
    program = await startProgram(TALKER, ['--exit', '3']);
    expect(await program.exited).toEqual({ code: 3, signal: null });
  });

  it('tells by which signal it was ended', async () => {
    program = await startProgram(TALKER, []);
    await program.waitForLine(/ready/);
    expect(await program.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    expect(isAlive(program.pid)).toBe(false);
  });

  it('is forced to end when it does not by itself', async () => {
    program = await startProgram(TALKER, ['--stubborn']);
    await program.waitForLine(/ready/);
    expect(await program.stop(100)).toEqual({ code: null, signal: 'SIGKILL' });
    expect(program.lines).toContain('asked to stop');
  });

  it('does not keep a wait going for a line that can no longer come', async () => {
    program = await startProgram(TALKER, ['--exit', '3']);
    await expect(program.waitForLine(/ready/, 60_000)).rejects.toThrow(/talker\.ts ended without a line \/ready\//);
  });

  it('is quoted when a line does not come in time', async () => {
    program = await startProgram(TALKER, []);
    await program.waitForLine(/ready/);
    await expect(program.waitForLine(/never/, 50)).rejects.toThrow(/waited 0\.05 s for a line \/never\/.*[\s\S]*ready/);
  });

  it('can be waited for to say a thing once more', async () => {
    program = await startProgram(TALKER, ['--stubborn']);
    await program.waitForLine(/ready/);
    program.signal('SIGTERM');
    await program.waitForLine(/asked/);
    const from = program.lines.length;
    const again = program.waitForLine(/asked/, 10_000, from);
    program.signal('SIGTERM');
    expect(await again).toContain('asked to stop');
  });
});

describe('a program whose owner is killed with -9', () => {
  it('ends with it', async () => {
    await using owner = await startProgram('test/harness/testdata/owner.ts', []);
    const pid = Number((await owner.waitForLine(/^started/, 30_000)).split(' ')[1]);
    expect(isAlive(pid)).toBe(true);
    await owner.kill('SIGKILL');
    expect(await waitUntil(() => !isAlive(pid), { what: 'the program to end', timeoutMs: 5_000 })).toBe(true);
  });
});
