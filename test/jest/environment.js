import { setTimeout as delay } from 'node:timers/promises';
import { TestEnvironment } from 'jest-environment-node';

/**
 * Kinds of handles that a test file opens itself and that never appear by themselves. Sockets are not among them: a client
 * that an earlier file of the same worker left behind may connect again at any time. Pipes and file requests are jest's own as
 * well; so are timers, unless the file runs in a worker process.
 */
const OURS = ['TCPServerWrap', 'ProcessWrap', 'UDPWrap', 'FSEventWrap', ...(process.send ? ['Timeout'] : [])];

/** How long handles may take to close after the last hook; a killed process needs a moment to be gone. */
const GRACE_MS = 2_000;

/** Fails a test file that leaves servers, child processes or timers behind. */
export default class LeakCheckingEnvironment extends TestEnvironment {
  #before = new Map();

  async setup() {
    await super.setup();
    this.#before = openHandles();
  }

  async handleTestEvent(event, state) {
    if (event.name !== 'run_finish') return;
    const deadline = performance.now() + GRACE_MS;
    let left = this.#left();
    while (left.length > 0 && performance.now() < deadline) {
      await delay(20, undefined, { ref: false });
      left = this.#left();
    }
    if (left.length > 0) state.unhandledErrors.push([new Error(`left open after the last test: ${left.join(', ')}`), undefined]);
  }

  #left() {
    const now = openHandles();
    return OURS.filter((kind) => (now.get(kind) ?? 0) > (this.#before.get(kind) ?? 0)).map(
      (kind) => `${(now.get(kind) ?? 0) - (this.#before.get(kind) ?? 0)} ${kind}`,
    );
  }
}

function openHandles() {
  const counts = new Map();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
