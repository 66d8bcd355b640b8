import { readFile } from 'node:fs/promises';
import { credentials, Metadata } from '@grpc/grpc-js';
import { sleep } from '../../lib/abort.ts';
import { callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { decodeJwtSecret, signJwt } from '../../lib/jwt.ts';
import { AgentsServiceClient, type ConnectedAgent } from '../../proto/gen/kas/api/v1/agents.ts';
import {
  SyncStatusServiceClient,
  type UnitStatus,
  type WatchSyncStatusResponse,
} from '../../proto/gen/kas/api/v1/sync_status.ts';
import { UnitsServiceClient } from '../../proto/gen/kas/api/v1/units.ts';

/** What people do to a unit beside committing. */
export type UnitOperation =
  | { readonly type: 'suspend' | 'resume' | 'unpin' | 'resync' }
  | { readonly type: 'pin' | 'confirmPrune'; readonly commitId: string };

/** What RoR or a tool would be: a client of kas' API port, with its secret. */
export class KasApi implements Disposable {
  readonly #secretFile: string;
  readonly #status: SyncStatusServiceClient;
  readonly #agents: AgentsServiceClient;
  readonly #units: UnitsServiceClient;

  constructor(address: string, secretFile: string) {
    this.#secretFile = secretFile;
    this.#status = new SyncStatusServiceClient(address, credentials.createInsecure());
    this.#agents = new AgentsServiceClient(address, credentials.createInsecure());
    this.#units = new UnitsServiceClient(address, credentials.createInsecure());
  }

  async units(signal: AbortSignal): Promise<readonly UnitStatus[]> {
    const metadata = await this.#metadata();
    const response = await callUnary(
      this.#status.getSyncStatus.bind(this.#status),
      { selector: undefined },
      { metadata, timeoutMs: 5_000 },
      signal,
    );
    return response.units;
  }

  async connectedAgents(signal: AbortSignal): Promise<readonly ConnectedAgent[]> {
    const metadata = await this.#metadata();
    const response = await callUnary(
      this.#agents.listConnectedAgents.bind(this.#agents),
      {},
      { metadata, timeoutMs: 5_000 },
      signal,
    );
    return response.agents;
  }

  async operate(agentName: string, unitName: string, operation: UnitOperation, signal: AbortSignal): Promise<void> {
    const options = { metadata: await this.#metadata(), timeoutMs: 5_000 };
    const unit = { agentName, unit: unitName, agentId: 0n };
    const client = this.#units;
    const reason = 'by a test';
    switch (operation.type) {
      case 'suspend':
        await callUnary(client.suspendUnit.bind(client), { unit, reason }, options, signal);
        return;
      case 'resume':
        await callUnary(client.resumeUnit.bind(client), { unit }, options, signal);
        return;
      case 'pin': {
        const request = { unit, commitId: operation.commitId, expiresAt: undefined, reason };
        await callUnary(client.pinUnit.bind(client), request, options, signal);
        return;
      }
      case 'unpin':
        await callUnary(client.unpinUnit.bind(client), { unit }, options, signal);
        return;
      case 'resync':
        await callUnary(client.resyncUnit.bind(client), { unit }, options, signal);
        return;
      case 'confirmPrune':
        await callUnary(client.confirmPrune.bind(client), { unit, commitId: operation.commitId }, options, signal);
    }
  }

  /** Present state, then changes; starts over when kas was gone. Ends when `signal` fires. */
  async *watch(signal: AbortSignal): AsyncGenerator<WatchSyncStatusResponse, void, void> {
    while (!signal.aborted) {
      try {
        const metadata = await this.#metadata();
        yield* callServerStream(this.#status.watchSyncStatus.bind(this.#status), { selector: undefined }, { metadata }, signal);
      } catch {
        if (signal.aborted) return;
      }
      await sleep(200, signal).catch(() => undefined);
    }
  }

  [Symbol.dispose](): void {
    this.#status.close();
    this.#agents.close();
    this.#units.close();
  }

  async #metadata(): Promise<Metadata> {
    const secret = decodeJwtSecret(await readFile(this.#secretFile, 'utf8'), this.#secretFile);
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await signJwt(secret, { issuer: 'operator' })}`);
    return metadata;
  }
}
