import { type Fault, type RequestMatch, refusal, textAnswer } from '../harness/fault-proxy.ts';
import type { FaultStep } from './scenario-schema.ts';

export function matchOf(match: Pick<FaultStep, 'method' | 'path' | 'query' | 'body'>): RequestMatch {
  const { method, path, query, body } = match;
  const expressions = Object.entries(query ?? {}).map(([name, source]) => [name, new RegExp(source)] as const);
  return {
    ...(method === undefined ? {} : { method }),
    ...(path === undefined ? {} : { path: new RegExp(path) }),
    ...(query === undefined ? {} : { query: Object.fromEntries(expressions) }),
    ...(body === undefined ? {} : { body: new RegExp(body) }),
  };
}

export function faultOf({ refuse, answer, cut, delay }: FaultStep): Fault {
  if (refuse !== undefined) return refusal(refuse.status, refuse.reason, refuse.message, { details: refuse.details });
  if (answer !== undefined) return textAnswer(answer.status, answer.text, answer.headers);
  if (cut !== undefined) return { cut };
  return delay === undefined ? { hold: true } : { delayMs: delay };
}
