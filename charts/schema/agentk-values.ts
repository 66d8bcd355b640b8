import { z } from 'zod';
import { common, fields, kubernetes, logLevel, serviceAccount } from './kubernetes.ts';

const rule = z.strictObject({
  apiGroups: z.array(z.string()).min(1),
  resources: z.array(z.string().min(1)).min(1),
});

const rbac = fields({
  create: z.boolean(),
  mode: z.enum(['workloads', 'namespaced', 'impersonation', 'clusterAdmin']),
  namespaces: z.array(kubernetes.name.min(1)),
  serviceAccounts: z.array(z.strictObject({ namespace: kubernetes.name.min(1), name: kubernetes.name.min(1) })),
  workloadRules: z.array(rule),
  extraRules: kubernetes.list,
});

/** What `helm install` takes for agentk. Its flags are checked against `agentk/config/flags.ts` by test. */
export const agentkValuesSchema = fields({
  ...common,
  replicas: z.int().min(0),
  // The patterns of the programs.
  kas: z.strictObject({
    address: z
      .string()
      .regex(/^(grpcs?:\/\/[^/?#@]+:\d+|wss?:\/\/[^/?#@]+(\/[^?#]*)?)$/)
      .describe('grpc://host:port, grpcs://host:port, ws://host/path or wss://host/path'),
    ca: fields({ pem: z.string(), configMap: kubernetes.name, secret: kubernetes.name, key: z.string().min(1) }).optional(),
  }),
  token: fields({ existingSecret: kubernetes.name, key: z.string().min(1), value: z.string() }),
  proxy: fields({ httpsProxy: z.string(), noProxy: z.string() }),
  leaderElection: fields({ leaseName: kubernetes.name, leaseDuration: z.string().regex(/^(\d+[hms])+$/) }),
  logLevel,
  rbac,
  serviceAccount,
  observability: fields({ port: kubernetes.port }),
  resources: kubernetes.object,
  podDisruptionBudget: fields({ enabled: z.boolean() }),
  networkPolicy: fields({ enabled: z.boolean(), observabilityFrom: kubernetes.list }),
}).required({ kas: true });
