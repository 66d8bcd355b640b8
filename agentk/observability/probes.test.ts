import { readinessOf } from './probes.ts';

test('a replica is ready when it waits for another one, or leads with a session', () => {
  let ready: boolean | undefined;
  const readiness = readinessOf({ setReady: (value) => (ready = value) });
  readiness.standing('waits');
  expect(ready).toBe(true);
  readiness.standing('leads');
  expect(ready).toBe(false);
  readiness.session(true);
  expect(ready).toBe(true);
  readiness.session(false);
  expect(ready).toBe(false);
  readiness.session(true);
  readiness.standing('unknown');
  expect(ready).toBe(false);
});
