import { runProgram } from '../../lib/program.ts';
import { openStage } from './stage.ts';
import { editByHand, scaleByHand } from './steps-drift.ts';
import { agentKilled, kasKilled, withoutNotification } from './steps-faults.ts';
import { overlaysOfTwoAgents } from './steps-kustomize.ts';
import { brokenCommit, imageChange, initialSync, removal } from './steps-sync.ts';
import { Story } from './story.ts';

const POLL_PERIOD_MS = 5_000;

// The whole story against real parts. Exit code 0 only if every step was observed on the API server.
await runProgram('demo', async (_args, signal) => {
  const story = new Story((text) => process.stdout.write(text));
  await using stage = await openStage(story, signal);
  const { scene } = stage;
  await initialSync(scene);
  await imageChange(scene);
  await removal(scene);
  await scaleByHand(scene);
  await editByHand(scene);
  await brokenCommit(scene);
  await overlaysOfTwoAgents(scene);
  await agentKilled(scene);
  await kasKilled(scene);
  await withoutNotification(scene, POLL_PERIOD_MS);
  story.close();
});
