import { MemoryStatusStore } from './memory-status-store.ts';
import { describeStatusStore } from './status-store.contract.ts';

describeStatusStore('MemoryStatusStore', async () => new MemoryStatusStore());
