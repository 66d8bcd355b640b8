import { configurationEdits, metadataEdits } from './configuration-edits.ts';
import { customResourceEdits } from './custom-resource-edits.ts';
import type { LiveEdit } from './edit.ts';
import { accessEdits, networkEdits } from './network-edits.ts';
import { workloadEdits } from './workload-edits.ts';

export const liveEdits: readonly LiveEdit[] = [
  ...metadataEdits,
  ...configurationEdits,
  ...workloadEdits,
  ...networkEdits,
  ...accessEdits,
  ...customResourceEdits,
];
