import { useCluster } from '../harness/cluster.ts';
import { scenarioFiles } from './scenario-file.ts';
import { runScenarios, scenarios } from './scenario-suite.ts';

const entries = await scenarios(await scenarioFiles(), 'fault');

describe('Failures', () => {
  runScenarios(entries, useCluster());
});
