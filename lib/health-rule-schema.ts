import { z } from 'zod';
import { ObjectExpression } from './cel.ts';
import { toError } from './errors.ts';
import type { HealthRule } from './unit-policy.ts';
import { apiGroup, kindName } from './unit-policy-schema.ts';

/** A health rule as people write it. */
export const healthRule = z
  .strictObject({
    api_group: apiGroup
      .refine((group) => group !== '*', 'must be one group; write it out')
      .describe('API group; `""` is the core group'),
    kind: kindName.refine((kind) => kind !== '*', 'must be one kind; write it out').describe('kind'),
    in_progress: expression().describe('CEL over `object`: not done yet'),
    failed: expression().describe('CEL over `object`: will not be done without help'),
    current: expression().describe('CEL over `object`: as wanted'),
  })
  .superRefine((rule, context) => {
    if (rule.in_progress === '' && rule.failed === '' && rule.current === '')
      context.addIssue('needs in_progress, failed or current; add an expression');
  });

function expression(): z.ZodDefault<z.ZodString> {
  const text = z.string().max(2_000, 'is longer than 2000 characters; shorten it');
  return text.superRefine(checkExpression).default('');
}

function checkExpression(text: string, context: z.RefinementCtx): void {
  if (text === '') return;
  try {
    new ObjectExpression(text);
  } catch (error) {
    context.addIssue(toError(error).message);
  }
}

export function healthRuleOf(rule: z.output<typeof healthRule>): HealthRule {
  const { kind, failed, current } = rule;
  return { group: rule.api_group, kind, inProgress: rule.in_progress, failed, current };
}
