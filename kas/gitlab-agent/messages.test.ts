import { DEFAULT_POLICY } from '../../lib/unit-policy.ts';
import type { AgentUnit } from '../agent-session/agent-configuration.ts';
import { unitsFor138 } from './messages.ts';

const unit = (name: string, project: string, suspended = false): AgentUnit => ({
  ...DEFAULT_POLICY,
  name,
  project,
  suspended,
  ref: undefined,
  globs: ['**'],
});

test('an agent of GitLab 13.8 gets the first unit of each project', () => {
  const units = [unit('a', 'team/app'), unit('b', 'team/app'), unit('c', 'team/other')];
  expect(unitsFor138(units).map(({ name }) => name)).toEqual(['a', 'c']);
});

test('a suspended unit is not replaced by another of its project, whose set of objects would prune its own', () => {
  expect(unitsFor138([unit('a', 'team/app', true), unit('b', 'team/app')])).toEqual([]);
});
