import { writeFileSync } from 'node:fs';

/**
 * Leaves the counts of a run, in tests, for `test/jest/main.ts` in the file that KAS_TEST_COUNTS names: per test file and in
 * all. A file that could not run counts as one failed test. A test that was skipped or is still to be written counts as failed
 * as well, and fails the run: a missing part is no success. Runs narrowed down by --testNamePattern are a person's own business
 * and leave tests out freely.
 */
export default class CountReporter {
  #globalConfig;
  #error;

  constructor(globalConfig) {
    this.#globalConfig = globalConfig;
  }

  onRunComplete(_contexts, results) {
    const narrowed = this.#globalConfig.testNamePattern !== undefined && this.#globalConfig.testNamePattern !== '';
    const files = results.testResults.map((file) => countsOf(file, narrowed));
    const leftOut = narrowed ? 0 : results.numPendingTests + results.numTodoTests;
    if (leftOut > 0) this.#error = new Error(`${leftOut} tests were left out`);
    writeFileSync(process.env.KAS_TEST_COUNTS, JSON.stringify(files));
    // What a test left open must not keep the run from ending; the file that did it has failed.
    setTimeout(() => process.exit(1), 10_000).unref();
  }

  getLastError() {
    return this.#error;
  }
}

function countsOf(file, narrowed) {
  const leftOut = narrowed ? 0 : file.numPendingTests + file.numTodoTests;
  const notRun = file.testExecError !== undefined && file.numFailingTests === 0 ? 1 : 0;
  return { path: file.testFilePath, passed: file.numPassingTests, failed: file.numFailingTests + notRun + leftOut };
}
