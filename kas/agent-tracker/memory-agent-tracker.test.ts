import { describeAgentTracker } from './agent-tracker.contract.ts';
import { MemoryAgentTracker } from './memory-agent-tracker.ts';

describeAgentTracker('MemoryAgentTracker', async () => new MemoryAgentTracker());
