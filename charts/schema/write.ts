// Writes the charts' values.schema.json: `npm run generate:docs`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { valuesSchemas } from './values-schema.ts';

const root = join(import.meta.dirname, '..', '..');
for (const [file, text] of Object.entries(valuesSchemas())) writeFileSync(join(root, file), text);
