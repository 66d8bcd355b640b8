import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UserError } from '../../lib/errors.ts';
import { rewriteFile } from '../../lib/replace-file.ts';
import { readRegistryFile } from './registry-file.ts';

/** Who a token belongs to, by the SHA-256 of the token: the file holds nothing that lets anybody in. */
export interface AgentTokenRecord {
  readonly agent: string;
  /** Lower-case hex SHA-256 of the token. */
  readonly hash: string;
  /** RFC 3339. */
  readonly createdAt: string;
}

const TOKEN_PREFIX = 'kasagent-';
const TOKEN_BYTES = 32;
/** Who makes tokens waits for others who do, which is bounded. */
const NEVER = new AbortController().signal;

/**
 * Makes a token for an agent of the registry file and stores its hash. The token itself is kept nowhere: show it once.
 * UserError `UnknownAgent` when the registry has no such agent.
 */
export async function createAgentToken(registryFile: string, agent: string): Promise<string> {
  const { agentTokensFile } = await registryWith(registryFile, agent);
  const token = TOKEN_PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
  const record = { agent, hash: hashToken(token).toString('hex'), createdAt: new Date().toISOString() };
  await rewrite(agentTokensFile, (records) => [...records, record]);
  return token;
}

/** Forgets all tokens of an agent; the number of them. */
export async function revokeAgentTokens(registryFile: string, agent: string): Promise<number> {
  const { agentTokensFile } = await registryWith(registryFile, agent);
  let revoked = 0;
  await rewrite(agentTokensFile, (records) => {
    const kept = records.filter((record) => record.agent !== agent);
    revoked = records.length - kept.length;
    return kept;
  });
  return revoked;
}

async function registryWith(registryFile: string, agent: string): Promise<{ agentTokensFile: string }> {
  const registry = await readRegistryFile(registryFile);
  if (registry.agents.has(agent)) return registry;
  const known = registry.agents.size === 0 ? 'it has none' : `it has ${[...registry.agents.keys()].join(', ')}`;
  throw new UserError(`The registry ${registryFile} has no agent "${agent}" (${known}): add it to agents first.`, {
    kind: 'not_found',
    reason: 'UnknownAgent',
  });
}

/** The agent a token belongs to. Compares in constant time what the look-up by hash has found. */
export function findTokenOwner(records: ReadonlyMap<string, AgentTokenRecord>, token: string): string | undefined {
  const hash = hashToken(token);
  const record = records.get(hash.toString('hex'));
  return record !== undefined && timingSafeEqual(Buffer.from(record.hash, 'hex'), hash) ? record.agent : undefined;
}

function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Records by hash; none when there is no such file. UserError when it is not what `createAgentToken` writes. */
export async function readAgentTokens(file: string): Promise<ReadonlyMap<string, AgentTokenRecord>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw new UserError(`Cannot read the agent tokens ${file}: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
  return new Map(parseRecords(text, file).map((record) => [record.hash, record]));
}

function parseRecords(text: string, file: string): AgentTokenRecord[] {
  try {
    const { tokens } = JSON.parse(text) as { tokens: AgentTokenRecord[] };
    if (tokens.every(({ agent, hash }) => typeof agent === 'string' && /^[0-9a-f]{64}$/.test(hash))) return tokens;
  } catch {
    // Falls through to the one message for whatever is wrong with it.
  }
  throw new UserError(`${file}:1: this is not a file of agent tokens; restore it, or remove it and create the tokens anew.`, {
    reason: 'InvalidAgentTokens',
  });
}

async function rewrite(file: string, change: (records: AgentTokenRecord[]) => AgentTokenRecord[]): Promise<void> {
  await rewriteFile(
    file,
    'agent tokens',
    async () => {
      const records = change([...(await readAgentTokens(file)).values()]);
      return `${JSON.stringify({ tokens: records }, undefined, 2)}\n`;
    },
    NEVER,
  );
}
