import { homedir } from 'node:os';
import { join } from 'node:path';
import { spawnReaped } from './reaped-process.ts';

/** Where programs that tests build are kept: `$KAS_CACHE_DIR`, else `$XDG_CACHE_HOME/kas`, else `~/.cache/kas`. */
export function cacheRoot(): string {
  return process.env['KAS_CACHE_DIR'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kas');
}

/** Standard output of a go command run in a module's folder. It ends with this process, whatever happens to it. */
export async function runGo(args: readonly string[], folder: string, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const child = await spawnReaped('go', args, { cwd: folder, env: { ...process.env, GOWORK: 'off' } });
  const onAbort = (): void => void child.killGroup();
  signal.addEventListener('abort', onAbort, { once: true });
  const [stdout, stderr, exit] = await Promise.all([textOf(child.stdout), textOf(child.stderr), child.exited]);
  signal.removeEventListener('abort', onAbort);
  signal.throwIfAborted();
  if (exit.code === 127) throw new Error('Go 1.26 or newer is needed, and there is no "go" in PATH');
  if (exit.code !== 0) {
    const tail = stderr.trim().split('\n').slice(-20).join('\n');
    throw new Error(`go ${args[0]} ${args.at(-1)} failed (exit code ${exit.code ?? exit.signal}):\n${tail}`);
  }
  return stdout;
}

async function textOf(stream: AsyncIterable<Buffer> | null): Promise<string> {
  const chunks: Buffer[] = [];
  if (stream !== null) for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
