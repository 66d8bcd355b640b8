import { DEFAULT_POLICY } from '../../lib/unit-policy.ts';
import type { AgentUnit } from './agent-configuration.ts';
import { sourceId } from './source-id.ts';

const unit: AgentUnit = { name: 'shop', project: 'team/app', ref: undefined, globs: ['**/*.yaml'], ...DEFAULT_POLICY };

test.each<[string, Partial<AgentUnit>]>([
  ['the project', { project: 'team/other' }],
  ['the ref', { ref: 'refs/heads/next' }],
  ['the paths', { globs: ['shop/*.yaml'] }],
  ['the default namespace', { defaultNamespace: 'shop' }],
])('is another one when %s is', (_what, change) => {
  expect(sourceId({ ...unit, ...change })).not.toBe(sourceId(unit));
});

test.each<[string, Partial<AgentUnit>]>([
  ['name', { name: 'store' }],
  ['policy', { prune: false, suspended: true }],
])('does not depend on the %s', (_what, change) => {
  expect(sourceId({ ...unit, ...change })).toBe(sourceId(unit));
});
