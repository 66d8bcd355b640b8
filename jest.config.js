/** One run over all projects of the repository: tests lie beside the code; what needs several programs is in test/. */
export default {
  testEnvironment: '<rootDir>/test/jest/environment.js',
  roots: ['<rootDir>/lib', '<rootDir>/proto', '<rootDir>/kas', '<rootDir>/agentk', '<rootDir>/test', '<rootDir>/kustomize-ts'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'esnext' }, module: { type: 'es6' } }],
  },
  globalSetup: '<rootDir>/test/jest/global-setup.js',
  globalTeardown: '<rootDir>/test/jest/global-teardown.js',
  reporters: ['default', '<rootDir>/test/jest/count-reporter.js'],
  testSequencer: '<rootDir>/test/jest/sequencer.js',
  testTimeout: 60_000,
  maxWorkers: 2,
};
