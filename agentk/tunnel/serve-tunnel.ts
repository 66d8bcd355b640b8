import type { WindowBudget } from '../../lib/flow-control.ts';
import type { BidiCall } from '../../lib/grpc/call.ts';
import { MessageQueue } from '../../lib/message-queue.ts';
import type { ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { IncomingRequest } from './incoming-request.ts';

export type TunnelCall = BidiCall<ServeRequest, ServeResponse>;

/** Answers or refuses a request; what it throws is a fault. */
export type ServeIncoming = (request: IncomingRequest) => Promise<void>;

/**
 * Offers a stream to kas and serves the one request that comes by it. `onTaken` is called when there is one. Resolves
 * when the stream has ended; rejects as the call does, or when serving failed.
 */
export async function serveTunnel(
  call: TunnelCall,
  serve: ServeIncoming,
  onTaken: () => void,
  budget: WindowBudget,
): Promise<void> {
  const outgoing = new MessageQueue<ServeRequest>();
  outgoing.push({ message: { $case: 'ready', value: {} } });
  const sending = send(call, outgoing);
  let request: IncomingRequest | undefined;
  let serving: Promise<void> | undefined;
  try {
    for await (const response of call.responses) {
      if (request !== undefined) {
        request.receive(response);
      } else if (response.message?.$case === 'head') {
        outgoing.push({ message: { $case: 'accepted', value: {} } });
        request = new IncomingRequest(response.message.value, (message) => outgoing.push(message), budget);
        onTaken();
        serving = serve(request).finally(() => outgoing.end());
        // Waited for below, when the stream has ended.
        serving.catch(() => undefined);
      }
    }
  } finally {
    request?.fail(new DOMException('The caller went away', 'AbortError'));
    outgoing.end();
    await sending;
    await serving;
  }
}

/** How the stream ends shows in what is read from it. */
async function send(call: TunnelCall, outgoing: MessageQueue<ServeRequest>): Promise<void> {
  try {
    for await (const message of outgoing) await call.send(message);
    call.end();
  } catch {
    call.cancel();
  }
}
