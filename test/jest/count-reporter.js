import { writeSync } from 'node:fs';

/**
 * Closes a run with one line for programs to read: `N passed, N failed`, counted in tests. A file that could not run counts as
 * one failed test. A test that was skipped or is still to be written counts as failed as well, and fails the run: a missing part
 * is no success. Runs narrowed down by --testNamePattern are a person's own business and leave tests out freely.
 */
export default class CountReporter {
  #globalConfig;
  #error;

  constructor(globalConfig) {
    this.#globalConfig = globalConfig;
  }

  onRunComplete(_contexts, results) {
    const narrowed = this.#globalConfig.testNamePattern !== undefined && this.#globalConfig.testNamePattern !== '';
    const left = narrowed ? 0 : results.numPendingTests + results.numTodoTests;
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites + left;
    if (left > 0) this.#error = new Error(`${left} tests were left out`);
    // What a test left open must not keep the run from ending; the file that did it has failed.
    setTimeout(() => process.exit(1), 10_000).unref();
    // At the very end: jest's own words about handles left open come after the reporters.
    process.once('exit', () => writeSync(1, `${results.numPassedTests} passed, ${failed} failed\n`));
  }

  getLastError() {
    return this.#error;
  }
}
