import { readFile } from 'node:fs/promises';
import { credentials, Metadata } from '@grpc/grpc-js';
import { type BidiCall, callBidi } from '../../lib/grpc/call.ts';
import { decodeJwtSecret, signJwt } from '../../lib/jwt.ts';
import {
  type ClusterRequest,
  ClusterRequestsClient,
  type SendRequest,
  type SendResponse,
} from '../../proto/gen/kas/agent/v1/cluster_requests.ts';
import type { AnswerHead, HttpRequest, Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';

export interface ApiCaller {
  /** `host:port` of kas' API. */
  readonly address: string;
  readonly secretFile: string;
  readonly agentId: number;
}

export interface Answer {
  readonly head: AnswerHead;
  readonly body: Buffer;
}

type Target = { readonly service: string } | { readonly as?: Impersonation };

/** What GitLab's Rails application would be: it makes requests into a cluster by gRPC calls of kas' API. */
export class ClusterRequestsCaller implements Disposable {
  readonly #caller: ApiCaller;
  readonly #client: ClusterRequestsClient;

  constructor(caller: ApiCaller) {
    this.#caller = caller;
    this.#client = new ClusterRequestsClient(caller.address, credentials.createInsecure());
  }

  /** A whole request and its whole answer. */
  async ask(target: Target, http: Partial<HttpRequest>, body: readonly Buffer[] = [], timeoutMs = 60_000): Promise<Answer> {
    const call = await this.open(new AbortController().signal, timeoutMs);
    await call.send({ message: { $case: 'head', value: headOf(target, http) } });
    // How a call that was ended early has ended shows in its responses.
    void sendAll(call, body).catch(() => undefined);
    return await answerOf(call.responses);
  }

  async open(signal: AbortSignal, timeoutMs: number): Promise<BidiCall<SendRequest, SendResponse>> {
    const secret = decodeJwtSecret(await readFile(this.#caller.secretFile, 'utf8'), this.#caller.secretFile);
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await signJwt(secret, { issuer: 'rails' })}`);
    metadata.set('kas-agent-id', String(this.#caller.agentId));
    return callBidi<SendRequest, SendResponse>(
      (callMetadata, options) => this.#client.send(callMetadata, options),
      { metadata, timeoutMs },
      signal,
    );
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

export function headOf(target: Target, http: Partial<HttpRequest>): ClusterRequest {
  return {
    http: { method: 'GET', path: '/', headers: [], upgrade: '', ...http },
    target:
      'service' in target
        ? { $case: 'service', value: target.service }
        : { $case: 'kubernetes', value: { impersonation: target.as } },
  };
}

async function sendAll(call: BidiCall<SendRequest, SendResponse>, body: readonly Buffer[]): Promise<void> {
  for (const value of body) await call.send({ message: { $case: 'data', value } });
  call.end();
}

async function answerOf(responses: AsyncIterable<SendResponse>): Promise<Answer> {
  let head: AnswerHead | undefined;
  const chunks: Buffer[] = [];
  let isWhole = false;
  for await (const { message } of responses) {
    if (message?.$case === 'head') head = message.value;
    else if (message?.$case === 'data') chunks.push(message.value);
    else isWhole = true;
  }
  if (head === undefined || !isWhole) throw new Error('the call ended well without a whole answer');
  return { head, body: Buffer.concat(chunks) };
}
