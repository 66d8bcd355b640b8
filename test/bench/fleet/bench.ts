import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { Bench } from '../figure.ts';
import { manyAgents } from './many-agents.ts';

const AGENTS = 10_000;

/**
 * One kas and its agents. `--agents N` plays fewer than 10,000 of them; `--profile FOLDER` has kas write processor profiles
 * there.
 */
export const run: Bench = async ({ args, progress }, signal) => {
  const { values } = parseArgs({ args: [...args], options: { agents: { type: 'string' }, profile: { type: 'string' } } });
  const agents = Number(values.agents ?? AGENTS);
  return await manyAgents(
    { agents, simulators: Math.max(2, availableParallelism()), profiles: values.profile, progress },
    signal,
  );
};
