// Writes what people and editors read of the agent's configuration file: `npm run generate:docs`.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configurationJsonSchema, REFERENCE_FILE, SCHEMA_FILE, withReference } from './reference.ts';

const root = join(import.meta.dirname, '..', '..');
writeFileSync(join(root, SCHEMA_FILE), configurationJsonSchema());
const document = join(root, REFERENCE_FILE);
writeFileSync(document, withReference(readFileSync(document, 'utf8')));
