import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { configurationJsonSchema, REFERENCE_FILE, SCHEMA_FILE, withReference } from './reference.ts';

const read = (file: string): Promise<string> => readFile(join(import.meta.dirname, '..', '..', file), 'utf8');

test('the JSON schema for editors is that of the code; `npm run generate:docs` writes it', async () => {
  expect(await read(SCHEMA_FILE)).toBe(configurationJsonSchema());
});

test('the documentation has every key with its default; `npm run generate:docs` writes them', async () => {
  const document = await read(REFERENCE_FILE);
  expect(document).toBe(withReference(document));
});

test('every key says what it means', () => {
  const undescribed: string[] = [];
  const visit = (node: Record<string, unknown>, path: string): void => {
    for (const [name, child] of Object.entries((node['properties'] ?? {}) as Record<string, Record<string, unknown>>)) {
      if (child['description'] === undefined) undescribed.push(`${path}${name}`);
      visit((child['items'] ?? child) as Record<string, unknown>, `${path}${name}.`);
    }
  };
  visit(JSON.parse(configurationJsonSchema()) as Record<string, unknown>, '');
  expect(undescribed).toEqual([]);
});

test('a document without the marks is refused', () => {
  expect(() => withReference('# Configuration\n')).toThrow(/has lost the marks/);
});
