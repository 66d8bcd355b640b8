import type { Answer, Command, Endpoint, Goal } from './protocol.ts';
import { type AgentEvents, SimulatedAgent } from './simulated-agent.ts';

/** A process that plays a part of the fleet. Its parent tells it what to do, and it ends with its parent. */

// Refused attempts by the ten thousand, of which nobody reads where they were made.
Error.stackTraceLimit = 0;

const agents: SimulatedAgent[] = [];
let endpoint: Endpoint | undefined;
let failures: Record<string, number> = {};
let contents = 0;
let bytes = 0;
const waiting = new Set<() => void>();
let checking = false;

process.on('message', (command: Command) => {
  switch (command.type) {
    case 'endpoint':
      endpoint = command.endpoint;
      break;
    case 'start':
      start(command);
      break;
    case 'expect':
      expect(command);
  }
});
process.once('disconnect', () => process.exit(0));

function start({ agents: credentials, localAddress, perSecond }: Extract<Command, { type: 'start' }>): void {
  const events: AgentEvents = {
    localAddress,
    endpoint: () => {
      if (endpoint === undefined) throw new Error('no endpoint yet');
      return endpoint;
    },
    failed: (what) => {
      failures[what] = (failures[what] ?? 0) + 1;
    },
    received: (count, objects) => {
      bytes += count;
      contents += objects;
    },
    changed,
  };
  const started = credentials.map((credential) => new SimulatedAgent(credential, events));
  agents.push(...started);
  for (const [index, agent] of started.entries()) setTimeout(() => agent.connect(), (index / perSecond) * 1000);
}

/** Looks after the goals once per turn of the event loop, however many agents changed in it. */
function changed(): void {
  if (checking) return;
  checking = true;
  setTimeout(() => {
    checking = false;
    for (const check of waiting) check();
  }, 20);
}

function expect({ id, goal, timeoutMs }: Extract<Command, { type: 'expect' }>): void {
  const finish = (): void => {
    waiting.delete(check);
    clearTimeout(deadline);
    const times = agents.map((agent) => reached(agent, goal));
    const answer: Answer = {
      id,
      reachedAt: times.filter((time) => time !== undefined),
      missing: agents.filter((_, index) => times[index] === undefined).map(({ name }) => name),
      failures,
      contents,
      bytes,
    };
    failures = {};
    contents = 0;
    bytes = 0;
    process.send?.(answer);
  };
  const check = (): void => {
    const wanted = goal.type === 'bundle' && goal.unit !== undefined ? 1 : agents.length;
    if (agents.filter((agent) => reached(agent, goal) !== undefined).length >= wanted) finish();
  };
  const deadline = setTimeout(finish, timeoutMs);
  waiting.add(check);
  check();
}

function reached(agent: SimulatedAgent, goal: Goal): number | undefined {
  if (goal.type === 'bundle')
    return agent.received.get(goal.unit === undefined ? goal.commitId : `${goal.unit} ${goal.commitId}`);
  return agent.settledAt > goal.since ? agent.settledAt : undefined;
}
