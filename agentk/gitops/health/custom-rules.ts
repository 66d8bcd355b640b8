import { ObjectExpression } from '../../../lib/cel.ts';
import { toError, UserError } from '../../../lib/errors.ts';
import type { HealthRule as Configured } from '../../../lib/unit-policy.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { type Assessment, conditionOf, current, failed, type HealthRule, inProgress, sayingOf } from './assessment.ts';

type Verdict = 'inProgress' | 'failed' | 'current';

const ORDER: readonly Verdict[] = ['inProgress', 'failed', 'current'];
const ASSESS = { inProgress, failed, current };
const NAMES = { inProgress: 'in_progress', failed: 'failed', current: 'current' };

/**
 * A rule of the configuration: the first expression that is true decides. When none is, the object is in progress; without
 * an expression for `current`, the agent's own rule decides.
 */
export function customRule(rule: Configured, otherwise: HealthRule): HealthRule {
  const name = `health rule for ${rule.group === '' ? rule.kind : `${rule.kind}.${rule.group}`}`;
  const expressions = new Map<Verdict, ObjectExpression>();
  for (const verdict of ORDER) {
    if (rule[verdict] === '') continue;
    try {
      expressions.set(verdict, new ObjectExpression(rule[verdict]));
    } catch (error) {
      return () => unusable(name, verdict, error);
    }
  }
  let gaveUp: Assessment | undefined;
  return (object) => {
    if (gaveUp !== undefined) return gaveUp;
    for (const [verdict, expression] of expressions) {
      try {
        if (expression.isTrue(object))
          return ASSESS[verdict](
            verdict === 'current' ? `Current by the ${name}` : saying(object, `The ${name} says ${NAMES[verdict]}`),
          );
      } catch (error) {
        const assessment = unusable(name, verdict, error);
        // It would hold up everything else with each event of each object.
        if (error instanceof UserError && error.reason === 'Timeout') gaveUp = assessment;
        return assessment;
      }
    }
    if (!expressions.has('current')) return otherwise(object);
    return inProgress(saying(object, `No expression of the ${name} is true yet`));
  };
}

/** The health of such objects is unknown until a person has corrected the rule. */
function unusable(name: string, verdict: Verdict, error: unknown): Assessment {
  return inProgress(`The expression "${NAMES[verdict]}" of the ${name} ${toError(error).message}`);
}

/** What the object's controller says about it is worth more than which expression was true. */
function saying(object: LiveObject, otherwise: string): string {
  return sayingOf(conditionOf(object, 'Ready'), otherwise);
}
