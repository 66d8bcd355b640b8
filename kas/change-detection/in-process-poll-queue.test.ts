import { InProcessPollQueue } from './in-process-poll-queue.ts';
import { describePollQueue } from './poll-queue.contract.ts';

describePollQueue('InProcessPollQueue', { create: async (deps) => new InProcessPollQueue(deps) });
