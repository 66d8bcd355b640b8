import { z } from 'zod';
import { kasConfigSchema } from '../../kas/config/schema.ts';
import { gitServerConfigSchema } from '../../kas/gitserver/config.ts';
import { registrySchema } from '../../kas/registry/registry-file.ts';
import { common, fields, kubernetes, serviceAccount } from './kubernetes.ts';

const ingress = {
  enabled: z.boolean(),
  className: z.string(),
  annotations: kubernetes.labels,
  host: z.string(),
  tlsSecret: kubernetes.name,
} as const;

const path = z.string().regex(/^\//);

const claim = {
  existingClaim: kubernetes.name,
  storageClass: z.string(),
  accessModes: z.array(z.enum(['ReadWriteOnce', 'ReadWriteOncePod', 'ReadWriteMany'])).min(1),
  size: kubernetes.quantity,
  retain: z.boolean(),
} as const;

const service = fields({ type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer']), annotations: kubernetes.labels });

const secretKey = fields({ existingSecret: kubernetes.name, key: z.string().min(1) });

const gitserver = fields({
  enabled: z.boolean(),
  config: gitServerConfigSchema,
  repositories: z.array(z.string().regex(/^[^/\s][^\s]*\.git$/)),
  tokenSecret: secretKey,
  persistence: fields(claim),
  service,
  ingress: fields(ingress),
  resources: kubernetes.object,
});

const monitoring = fields({
  serviceMonitor: fields({ enabled: z.boolean(), interval: z.string().regex(/^\d+(ms|s|m)$/), labels: kubernetes.labels }),
  dashboard: fields({ enabled: z.boolean(), labels: kubernetes.labels }),
});

/** What `helm install` takes for kas. `config`, `registry` and `gitserver.config` are the programs' own schemas. */
export const kasValuesSchema = fields({
  ...common,
  replicas: z.int().min(0),
  autoscaling: fields({
    enabled: z.boolean(),
    minReplicas: z.int().min(1),
    maxReplicas: z.int().min(1),
    targetCPUUtilizationPercentage: z.int().min(1),
  }),
  config: kasConfigSchema,
  registry: registrySchema,
  redis: fields({ bundled: fields({ enabled: z.boolean(), image: z.string().min(1), resources: kubernetes.object }) }),
  privateApiSecret: secretKey,
  agentTokens: fields({ existingSecret: kubernetes.name }),
  apiSecret: secretKey,
  secrets: z.record(z.string().regex(/^[a-z0-9]([-a-z0-9]{0,52}[a-z0-9])?$/), kubernetes.name.min(1)),
  tls: fields({ agents: fields({ secretName: kubernetes.name }), api: fields({ secretName: kubernetes.name }) }),
  persistence: fields({ enabled: z.boolean(), ...claim }),
  gitserver,
  service,
  ingress: fields({
    grpc: fields(ingress),
    webSocket: fields({ ...ingress, path }),
    kubernetesApi: fields({ ...ingress, path }),
    cable: fields({ ...ingress, path }),
    webhooks: fields({ ...ingress, path }),
  }),
  serviceAccount,
  resources: kubernetes.object,
  podDisruptionBudget: fields({ enabled: z.boolean() }),
  networkPolicy: fields({
    enabled: z.boolean(),
    agentsFrom: kubernetes.list,
    apiFrom: kubernetes.list,
    httpFrom: kubernetes.list,
    observabilityFrom: kubernetes.list,
    gitFrom: kubernetes.list,
  }),
  monitoring,
  terminationGracePeriodSeconds: z.int().min(0),
});
