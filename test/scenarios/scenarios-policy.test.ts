import { useCluster } from '../harness/cluster.ts';
import { scenarioFiles } from './scenario-file.ts';
import { runScenarios, scenarios } from './scenario-suite.ts';

const entries = await scenarios(await scenarioFiles(), 'policy');

describe('Settings of a unit and its objects', () => {
  runScenarios(entries, useCluster());
});
