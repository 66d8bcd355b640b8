import { z } from 'zod';
import { byteSize } from '../../lib/config-types.ts';
import { toError } from '../../lib/errors.ts';
import { parseFieldPath } from '../../lib/field-mask.ts';
import type { ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import { apiGroup, kindName, labelSelector, namespace } from '../../lib/unit-policy-schema.ts';

const selection = z
  .strictObject({
    api_group: apiGroup
      .refine((group) => group !== '*', 'must be one group; write it out')
      .default('')
      .describe('API group; `""` is the core group'),
    kind: kindName.describe('kind; `*`: all of the group that can be watched, but never Secrets'),
    namespaces: z.array(namespace).default([]).describe('namespaces; left out, all'),
    label_selector: labelSelector.default('').describe('labels, as in `kubectl --selector`'),
    field_selector: z.string().default('').describe('fields, as in `kubectl --field-selector`'),
    fields: z
      .array(z.string().superRefine(checkFieldPath))
      .default([])
      .describe(
        'what is kept of each object, such as `status.phase`; left out, everything but managedFields (of Secrets: no data and no annotations)',
      ),
    stream: z
      .boolean()
      .default(false)
      .describe('send changes on as they happen, see [live changes](object-cache.md#live-changes)'),
  })
  .superRefine(({ api_group, kind, stream }, context) => {
    if (stream && api_group === '' && kind === 'Secret')
      context.addIssue({
        code: 'custom',
        path: ['stream'],
        message: 'is not for Secrets, which never leave the cluster unasked; take it out',
      });
  });

export const objectCache = z
  .strictObject({
    memory_limit: byteSize({ min: 1 << 20, max: 2 ** 30 })
      .prefault('64MiB')
      .describe('of all that is kept; a kind that would go beyond it is not kept'),
    kinds: z.array(selection).default([]).describe('what is kept'),
  })
  .superRefine(({ kinds }, context) => {
    const seen = new Set<string>();
    for (const [index, one] of kinds.entries()) {
      const name = `${one.kind}.${one.api_group}`;
      if (seen.has(name))
        context.addIssue({
          code: 'custom',
          path: ['kinds', index, 'kind'],
          message: 'stands here twice; put both into one entry',
        });
      seen.add(name);
    }
  })
  .prefault({})
  .describe(
    "objects that agentk keeps of its cluster, so that others can ask kas for them without a request to the cluster's API server",
  );

export function toObjectCachePolicy({ memory_limit, kinds }: z.output<typeof objectCache>): ObjectCachePolicy {
  return {
    memoryLimitBytes: memory_limit,
    selections: kinds.map((one) => ({
      group: one.api_group,
      kind: one.kind,
      namespaces: one.namespaces,
      labelSelector: one.label_selector,
      fieldSelector: one.field_selector,
      fields: one.fields,
      stream: one.stream,
    })),
  };
}

function checkFieldPath(text: string, context: z.RefinementCtx): void {
  try {
    parseFieldPath(text);
  } catch (error) {
    context.addIssue(toError(error).message);
  }
}
