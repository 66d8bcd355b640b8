import { z } from 'zod';

/** Values that are put into Kubernetes' objects as they are: the API server knows them best. */
export const kubernetes = {
  object: z.looseObject({}),
  list: z.array(z.looseObject({})),
  labels: z.record(z.string(), z.string()),
  name: z.string().regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$/),
  port: z.int().min(1).max(65_535),
  quantity: z.string().regex(/^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/),
} as const;

/** A mapping of which nothing has to be written, and nothing else can be. */
export function fields<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  return z.strictObject(shape).partial();
}

export const image = fields({
  repository: z.string().min(1),
  tag: z.string(),
  digest: z.string().regex(/^(sha256:[0-9a-f]{64})?$/),
  pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']),
});

export const serviceAccount = fields({ create: z.boolean(), name: kubernetes.name, annotations: kubernetes.labels });

/** Where pods run, and what is written on them. */
export const scheduling = {
  podAnnotations: kubernetes.labels,
  podLabels: kubernetes.labels,
  nodeSelector: kubernetes.labels,
  tolerations: kubernetes.list,
  affinity: kubernetes.object,
  priorityClassName: kubernetes.name,
  topologySpreadConstraints: kubernetes.list,
} as const;

/** What every chart takes. */
export const common = {
  // Helm hands it to charts that are part of others.
  global: kubernetes.object,
  image,
  imagePullSecrets: kubernetes.list,
  nameOverride: kubernetes.name,
  fullnameOverride: kubernetes.name,
  ...scheduling,
} as const;

export const logLevel = z.enum(['debug', 'info', 'warn', 'error']);
