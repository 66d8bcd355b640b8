/** Version of kas and agentk; equal to package.json's, by test. */
export const VERSION = '0.1.0';
