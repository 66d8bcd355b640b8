import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { Bench, Figure } from '../figure.ts';
import { manyAgents } from './many-agents.ts';
import { monorepo } from './monorepo.ts';
import { manyRepositories } from './repositories.ts';

const AGENTS = 10_000;
const REPOSITORIES = 1_000;
/** Agents that one process simulates, at the most. */
const AGENTS_OF_ONE = 1_500;

/**
 * One kas, and what hangs on it. `--agents N` plays fewer than 10,000 of them, `--repositories N` has fewer than 1,000;
 * `--only agents`, `repositories` or `monorepo` (more than once if wanted) leaves out the others; `--profile FOLDER` has kas
 * write processor profiles there.
 */
export const run: Bench = async ({ args, progress }, signal) => {
  const text = { type: 'string' } as const;
  const options = { agents: text, repositories: text, only: { ...text, multiple: true }, profile: text } as const;
  const { values } = parseArgs({ args: [...args], options });
  const { only = ['agents', 'repositories', 'monorepo'], profile: profiles } = values;
  const agents = Number(values.agents ?? AGENTS);
  // Collecting the garbage of one with many TLS connections takes more than what it plays.
  const simulators = Math.max(2, availableParallelism(), Math.ceil(agents / AGENTS_OF_ONE));
  const figures: Figure[] = [];
  if (only.includes('agents')) figures.push(...(await manyAgents({ agents, simulators, profiles, progress }, signal)));
  if (only.includes('repositories'))
    figures.push(
      ...(await manyRepositories({ repositories: Number(values.repositories ?? REPOSITORIES), profiles, progress }, signal)),
    );
  if (only.includes('monorepo')) figures.push(...(await monorepo({ profiles, progress }, signal)));
  return figures;
};
