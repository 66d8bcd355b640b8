import type { HealthRule } from '../../../lib/unit-policy.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { assessByRule, assessHealth, builtInRule } from './assess.ts';
import type { Assessment, HealthRule as Rule } from './assessment.ts';
import { customRule } from './custom-rules.ts';

/** `Kind.group` */
export type KindName = string;

/** How objects are assessed: by the configuration's rules for their kinds, else by the agent's own. */
export class HealthChecks {
  #configured: ReadonlyMap<KindName, HealthRule> = new Map();
  #rules: ReadonlyMap<KindName, Rule> = new Map();

  /** Takes these rules in place of those before, and tells for which kinds that is a change. */
  configure(rules: readonly HealthRule[]): ReadonlySet<KindName> {
    const configured = new Map(rules.map((rule) => [`${rule.kind}.${rule.group}`, rule]));
    const changed = new Set<KindName>();
    for (const name of new Set([...configured.keys(), ...this.#configured.keys()])) {
      if (JSON.stringify(configured.get(name)) !== JSON.stringify(this.#configured.get(name))) changed.add(name);
    }
    if (changed.size === 0) return changed;
    this.#configured = configured;
    this.#rules = new Map([...configured].map(([name, rule]) => [name, customRule(rule, builtInRule(name))]));
    return changed;
  }

  readonly assess = (object: LiveObject): Assessment => {
    if (this.#rules.size === 0) return assessHealth(object);
    const slash = object.apiVersion.indexOf('/');
    const group = slash < 0 ? '' : object.apiVersion.slice(0, slash);
    const rule = this.#rules.get(`${object.kind}.${group}`);
    return rule === undefined ? assessHealth(object) : assessByRule(object, rule);
  };
}
