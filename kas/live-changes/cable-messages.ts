import { z } from 'zod';

/**
 * The protocol of Rails' ActionCable, version `actioncable-v1-json`. Source: rails/rails, actioncable/lib/action_cable/{connection/base,
 * connection/subscriptions,channel/base}.rb and the package @rails/actioncable.
 */
export const CABLE_PROTOCOL = 'actioncable-v1-json';

/** Consumers call a connection stale that has been silent for 6 s. */
export const PING_PERIOD_MS = 3_000;

export const CHANNEL = 'AgentChannel';

const command = z.looseObject({ command: z.enum(['subscribe', 'unsubscribe', 'message']), identifier: z.string().max(10_000) });

const identifier = z.looseObject({
  channel: z.literal(CHANNEL),
  agent_id: z
    .union([
      z.int(),
      z
        .string()
        .regex(/^\d{1,15}$/)
        .transform(Number),
    ])
    .pipe(z.int().min(1)),
  kinds: z.array(z.string()).max(100).default([]),
  cursor: z.string().default(''),
});

export type Command = z.output<typeof command>;
/** What a page wants to hear: `kinds` as `Pod` or `Deployment.apps`, none for all; `cursor` to go on after. */
export type Identifier = z.output<typeof identifier>;

/** Undefined for what is no command. */
export function parseCommand(text: string): Command | undefined {
  return parse(command, text);
}

/** Undefined for an identifier of another channel, or one that lacks something. */
export function parseIdentifier(text: string): Identifier | undefined {
  return parse(identifier, text);
}

function parse<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
