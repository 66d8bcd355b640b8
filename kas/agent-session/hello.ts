import { abortable } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import type { AgentMessage, Hello } from './agent-message.ts';

const HELLO_TIMEOUT_MS = 10_000;

/** Reads the message that a session begins with. UserError `invalid` when another comes first, or none in time. */
export async function readHello(messages: AsyncIterator<AgentMessage>, signal: AbortSignal): Promise<Hello> {
  const timeout = AbortSignal.timeout(HELLO_TIMEOUT_MS);
  const first = await abortable(messages.next(), AbortSignal.any([signal, timeout])).catch((error: unknown) => {
    if (error === timeout.reason) return undefined;
    throw error;
  });
  if (first !== undefined && first.done !== true && first.value.type === 'hello') return first.value.hello;
  throw new UserError('the first message of a session must be hello', { reason: 'HelloMissing' });
}
