import { parseArgs } from 'node:util';
import { parseDuration } from '../../lib/duration.ts';
import { UserError } from '../../lib/errors.ts';
import { type ListenAddress, parseListenAddress } from '../../lib/listen-address.ts';
import type { LogLevel } from '../../lib/log.ts';

/** What agentk is told at its start. Everything else comes from Git, through kas. */
export interface AgentkFlags {
  readonly kasAddress: string;
  readonly tokenFile: string;
  readonly caCertFile: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Namespace of agentk's own objects: the inventories. */
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  /** Undefined: this process leads, whoever else runs. */
  readonly leaderElection: LeaderElectionFlags | undefined;
  /** Of the probes; undefined: nowhere. */
  readonly observabilityAddress: ListenAddress | undefined;
  readonly logLevel: LogLevel;
  /** Who this agent is where kas does not say. */
  readonly agentId: number | undefined;
  /** What a kas of GitLab does not know of units. */
  readonly unitSettingsFile: string | undefined;
}

export interface LeaderElectionFlags {
  /** In `namespace`. */
  readonly leaseName: string;
  /** Whole seconds. */
  readonly leaseDurationMs: number;
}

export const USAGE = `agentk keeps a Kubernetes cluster as Git wants it.

  agentk --kas-address grpc://HOST:PORT --token-file FILE [options]

  --kas-address URL     grpc://host:port, or grpcs://host:port for TLS; ws://host/path, or wss://host/path for TLS, where
                        only WebSockets get through (required)
  --token-file FILE     holds the agent's token; read again at every connect (required)
  --ca-cert-file FILE   authorities to trust for kas, PEM, instead of the system's
  --kubeconfig FILE     default: in the cluster its service account, else $KUBECONFIG, else ~/.kube/config
  --context NAME        context of the kubeconfig; default: its current one
  --namespace NAME      where agentk keeps its inventories; default: $POD_NAMESPACE, else gitops-agent
  --leader-election BOOL
                        whether replicas take turns, so that one writes at a time; default: true
  --lease-name NAME     Lease in --namespace that replicas compete for; different agents need different ones; default: agentk
  --lease-duration TIME how long a leader that vanished holds the others back, 3s to 10m; it stops to write after two
                        thirds of it; default: 15s
  --agent-id NUMBER     the agent's id, for a kas of GitLab 13.8, which does not say it; default: made from the cluster
  --unit-settings FILE  how units are synced, for a kas of GitLab, which refuses such keys in Git
  --observability-address ADDRESS
                        host:port or :port where /liveness and /readiness are answered; default: nowhere
  --log-level LEVEL     debug, info, warn or error, until the configuration in Git says otherwise; default: info
  --version             print the version
  --help                print this text
`;

/** RFC 1123 subdomain */
const LEASE_NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Throws a UserError that names the flag and the remedy. `help` and `version` are answered by the caller. */
export function parseFlags(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AgentkFlags | 'help' | 'version' {
  const values = parse(args);
  if (values.help === true) return 'help';
  if (values.version === true) return 'version';
  const logLevel = LEVELS.find((level) => level === (values['log-level'] ?? 'info'));
  if (logLevel === undefined) throw invalid(`--log-level is one of ${LEVELS.join(', ')}, not "${values['log-level']}"`);
  return {
    kasAddress: required(values['kas-address'], '--kas-address'),
    tokenFile: required(values['token-file'], '--token-file'),
    caCertFile: values['ca-cert-file'],
    kubeconfig: values.kubeconfig,
    context: values.context,
    namespace: values.namespace ?? env['POD_NAMESPACE'] ?? 'gitops-agent',
    podName: env['POD_NAME'] ?? '',
    podUid: env['POD_UID'] ?? '',
    leaderElection: leaderElection(values),
    observabilityAddress: observabilityAddress(values['observability-address']),
    logLevel,
    agentId: agentId(values['agent-id']),
    unitSettingsFile: values['unit-settings'],
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: false,
      options: {
        'kas-address': { type: 'string' },
        'token-file': { type: 'string' },
        'ca-cert-file': { type: 'string' },
        kubeconfig: { type: 'string' },
        context: { type: 'string' },
        namespace: { type: 'string' },
        'leader-election': { type: 'string' },
        'lease-name': { type: 'string' },
        'lease-duration': { type: 'string' },
        'observability-address': { type: 'string' },
        'log-level': { type: 'string' },
        'agent-id': { type: 'string' },
        'unit-settings': { type: 'string' },
        version: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw invalid((error as Error).message);
  }
}

function leaderElection(values: ReturnType<typeof parse>): LeaderElectionFlags | undefined {
  const enabled = values['leader-election'] ?? 'true';
  const leaseName = values['lease-name'] ?? 'agentk';
  const text = values['lease-duration'] ?? '15s';
  const leaseDurationMs = parseDuration(text) ?? Number.NaN;
  if (!['true', 'false'].includes(enabled)) throw invalid(`--leader-election is true or false, not "${enabled}"`);
  if (!LEASE_NAME.test(leaseName)) {
    throw invalid(`--lease-name is made of lower-case letters, digits, "-" and ".", at most 253, and is not "${leaseName}"`);
  }
  if (!(leaseDurationMs >= 3_000 && leaseDurationMs <= 600_000 && leaseDurationMs % 1000 === 0)) {
    throw invalid(`--lease-duration is a time of whole seconds from 3s to 10m, not "${text}"`);
  }
  return enabled === 'true' ? { leaseName, leaseDurationMs } : undefined;
}

function agentId(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(text)) throw invalid(`--agent-id is a number from 1, not "${text}"`);
  return Number(text);
}

function observabilityAddress(text: string | undefined): ListenAddress | undefined {
  if (text === undefined) return undefined;
  const address = parseListenAddress(text);
  if (address === undefined)
    throw invalid(
      `--observability-address must be an address with a port; write it like 127.0.0.1:8150, :8150 or [::1]:8150, not "${text}"`,
    );
  return address;
}

function required(value: string | undefined, flag: string): string {
  if (value === undefined || value === '') throw invalid(`${flag} is missing`);
  return value;
}

function invalid(message: string): UserError {
  return new UserError(`${message}; see agentk --help`, { reason: 'InvalidFlags' });
}
