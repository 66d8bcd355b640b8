import { relative, sep } from 'node:path';
import Sequencer from '@jest/test-sequencer';

/** What starts more programs, or waits for a cluster, comes later in the list. */
const SLOW = ['kustomize-ts', 'agentk', 'test', 'test/e2e', 'test/charts', 'test/scenarios'].map((folder) => folder + sep);

/**
 * The longest files first, so that no worker is left with one at the end: short ones fill what time there is. Jest alone
 * goes by the sizes of files where it has not seen them run.
 */
export default class LongestFirst extends Sequencer {
  sort(tests) {
    const rank = ({ path, context }) => {
      const place = relative(context.config.rootDir, path);
      return SLOW.findLastIndex((folder) => place.startsWith(folder));
    };
    return super.sort(tests).toSorted((a, b) => rank(b) - rank(a));
  }
}
