#!/usr/bin/env node
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { aborted } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import { formatListenAddress } from '../../lib/listen-address.ts';
import { createLogger } from '../../lib/log.ts';
import { runProgram } from '../../lib/program.ts';
import { runStages } from '../../lib/stages.ts';
import { startGitServer } from './app.ts';
import { type GitServerConfig, loadGitServerConfig } from './config.ts';
import { createRepository } from './create-repository.ts';
import { createPushToken, type TokenScope } from './push-tokens.ts';
import { Storages } from './storages.ts';

const NAME = 'kas-gitserver';
const STOP_GRACE_MS = 10_000;

const USAGE = `Usage:
  ${NAME} serve --config FILE
  ${NAME} create --config FILE [--storage NAME] [--default-branch NAME] [--if-missing] group/project.git
  ${NAME} token create --config FILE --project group/project.git`;

const TEXT = { type: 'string' } as const;
const FLAG = { type: 'boolean' } as const;

async function main(args: readonly string[], signal: AbortSignal): Promise<void> {
  const [first, second] = args;
  if (first === 'serve') await serve(args.slice(1), signal);
  else if (first === 'create') await create(args.slice(1), signal);
  else if (first === 'token' && second === 'create') await createToken(args.slice(2), signal);
  else if (first === '--help' || first === '-h') process.stdout.write(`${USAGE}\n`);
  else throw usage(first === undefined ? 'the command is missing' : `${first} is not a command`);
}

async function serve(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { config } = await parse(args, {}, 0);
  const log = createLogger(NAME, config.logLevel);
  const server = {
    name: 'git server',
    async run(ready: () => void, stopping: AbortSignal): Promise<void> {
      const running = await startGitServer(config, log);
      log.info('Ready', {
        address: formatListenAddress(running.grpcAddress),
        url: `http://${formatListenAddress(running.httpAddress)}`,
      });
      ready();
      await aborted(stopping);
      await running.stop();
    },
  };
  await runStages([[server]], { graceMs: STOP_GRACE_MS, onStopping: (reason) => log.info('Stopping', { reason }) }, signal);
}

/** Prints the repository's path. */
async function create(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = { storage: TEXT, 'default-branch': TEXT, 'if-missing': FLAG };
  const { config, values, positionals } = await parse(args, options, 1);
  const storage = new Storages(config.storages).storage(values['storage'] ?? config.storages[0]?.name ?? '');
  const defaultBranch = values['default-branch'] ?? 'main';
  const relativePath = positionals[0] ?? '';
  const repository = await createRepository({ storage, relativePath, defaultBranch }, signal).catch(async (error: unknown) => {
    const exists = error instanceof UserError && error.reason === 'RepositoryExists';
    if (!exists || values['if-missing'] === undefined) throw error;
    return await new Storages(config.storages).repository(storage.name, relativePath);
  });
  process.stdout.write(`${repository.path}\n`);
}

/** Prints the new token, this once. */
async function createToken(args: readonly string[], signal: AbortSignal): Promise<void> {
  const { config, values } = await parse(args, { project: TEXT }, 0);
  if (values['project'] === undefined) throw usage('--project is missing');
  const scope = await scopeOf(config, values['project']);
  process.stdout.write(`${await createPushToken(config.pushTokensFile, scope, signal)}\n`);
}

/** A token is for a repository that exists, so that a slip of the pen is noticed. */
async function scopeOf(config: GitServerConfig, project: string): Promise<TokenScope> {
  const storages = new Storages(config.storages);
  for (const { name } of storages.all) {
    const found = await storages.repository(name, project).catch((error: unknown) => {
      if (error instanceof UserError) return undefined;
      throw error;
    });
    if (found !== undefined) return { storage: name, relativePath: found.relativePath };
  }
  throw new UserError(`${project}: there is no such repository; create it first`, { kind: 'not_found' });
}

interface CommandLine {
  readonly config: GitServerConfig;
  /** Of a flag that was given "true". */
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly positionals: readonly string[];
}

async function parse(args: readonly string[], options: ParseArgsOptionsConfig, positionalCount: number): Promise<CommandLine> {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], allowPositionals: true, options: { ...options, config: TEXT } });
  } catch (error) {
    throw usage((error as Error).message);
  }
  const values = Object.fromEntries(Object.entries(parsed.values).map(([key, value]) => [key, String(value)]));
  if (values['config'] === undefined) throw usage('--config is missing');
  if (parsed.positionals.length !== positionalCount)
    throw usage(`${positionalCount} argument(s) expected, ${parsed.positionals.length} given`);
  return { config: await loadGitServerConfig(values['config']), values, positionals: parsed.positionals };
}

function usage(problem: string): UserError {
  return new UserError(`${problem}\n${USAGE}`);
}

await runProgram(NAME, main);
