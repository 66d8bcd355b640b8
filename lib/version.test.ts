import { readFileSync } from 'node:fs';
import { VERSION } from './version.ts';

test('the version in the code is the one of the package', () => {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  expect(VERSION).toBe(manifest.version);
});
