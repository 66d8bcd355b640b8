import { join } from 'node:path';
import type { Binaries } from './binaries.ts';

/** Where one control plane listens and keeps its files. */
export interface Layout {
  readonly directory: string;
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  readonly apiServerPort: number;
  /** Where kwok plays the kubelets of all nodes. */
  readonly kubeletPort: number;
  /** Further flags of kube-apiserver. */
  readonly apiServerArgs: readonly string[];
}

export interface Component {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** Files below the control plane's directory. */
export function files(directory: string) {
  return {
    adminKubeconfig: join(directory, 'admin.kubeconfig'),
    tokens: join(directory, 'tokens.csv'),
    serviceAccountKey: join(directory, 'service-account.key'),
    serviceAccountPublicKey: join(directory, 'service-account.pub'),
    certificates: join(directory, 'certificates'),
    kubelet: join(directory, 'kubelet.yaml'),
    podLog: join(directory, 'pod.log'),
    /** kube-apiserver makes its serving certificate itself and leaves the authority that signed it in the same file. */
    ca: join(directory, 'certificates', 'apiserver.crt'),
    logs: join(directory, 'logs'),
    etcdData: join(directory, 'etcd'),
  };
}

/** Data lives as long as the control plane, so nothing waits for the disk. */
export function etcd(binaries: Binaries, layout: Layout): Component {
  const client = `http://127.0.0.1:${layout.etcdPort}`;
  const peer = `http://127.0.0.1:${layout.etcdPeerPort}`;
  return {
    name: 'etcd',
    command: binaries.etcd,
    args: [
      '--name=default',
      `--data-dir=${files(layout.directory).etcdData}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      '--unsafe-no-fsync',
      '--log-level=warn',
    ],
  };
}

export function kubeApiserver(binaries: Binaries, layout: Layout): Component {
  const at = files(layout.directory);
  return {
    name: 'kube-apiserver',
    command: binaries.kubeApiserver,
    args: [
      `--etcd-servers=http://127.0.0.1:${layout.etcdPort}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${layout.apiServerPort}`,
      `--cert-dir=${at.certificates}`,
      `--token-auth-file=${at.tokens}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${at.serviceAccountPublicKey}`,
      `--service-account-signing-key-file=${at.serviceAccountKey}`,
      '--service-cluster-ip-range=10.96.0.0/16',
      '--allow-privileged=true',
      // A loopback address is refused as an endpoint of the kubernetes service; nobody reaches it by that name here.
      '--endpoint-reconciler-type=none',
      ...layout.apiServerArgs,
    ],
  };
}

// Port 0 means no port of their own: several control planes share a machine.
export function kubeControllerManager(binaries: Binaries, layout: Layout): Component {
  const at = files(layout.directory);
  return {
    name: 'kube-controller-manager',
    command: binaries.kubeControllerManager,
    args: [
      `--kubeconfig=${at.adminKubeconfig}`,
      '--secure-port=0',
      '--leader-elect=false',
      `--service-account-private-key-file=${at.serviceAccountKey}`,
      `--root-ca-file=${at.ca}`,
    ],
  };
}

export function kubeScheduler(binaries: Binaries, layout: Layout): Component {
  return {
    name: 'kube-scheduler',
    command: binaries.kubeScheduler,
    args: [`--kubeconfig=${files(layout.directory).adminKubeconfig}`, '--secure-port=0', '--leader-elect=false'],
  };
}

/** Nodes, and their kubelets: for logs, exec, attach and port-forward see `kubeletRules`. */
export function kwok(binaries: Binaries, layout: Layout): Component {
  const at = files(layout.directory);
  return {
    name: 'kwok',
    command: binaries.kwok,
    args: [
      `--kubeconfig=${at.adminKubeconfig}`,
      '--manage-all-nodes=true',
      '--node-ip=127.0.0.1',
      `--node-port=${layout.kubeletPort}`,
      `--server-address=127.0.0.1:${layout.kubeletPort}`,
      // The API server does not check what kubelets present, and its own pair is there already.
      `--tls-cert-file=${at.ca}`,
      `--tls-private-key-file=${join(at.certificates, 'apiserver.key')}`,
      `--config=${at.kubelet}`,
      '--node-lease-duration-seconds=40',
      ...binaries.kwokStages.map((path) => `--config=${path}`),
    ],
  };
}

/**
 * What kubelets do, for every container: commands run on this machine, a forwarded port is an echo, logs and attach show
 * the file `pod.log` and what is added to it. kwok never tells a command of the end of its input, so tar has to know by the
 * archive alone.
 */
export function kubeletRules(layout: Layout): string {
  const { podLog } = files(layout.directory);
  const rule = (kind: string, spec: string): string =>
    `apiVersion: kwok.x-k8s.io/v1alpha1\nkind: ${kind}\nmetadata: {name: all}\nspec: ${spec}\n`;
  return [
    rule(
      'ClusterExec',
      `{execs: [{local: {workDir: "${layout.directory}", envs: [{name: TAR_OPTIONS, value: "--blocking-factor=1"}]}}]}`,
    ),
    rule('ClusterLogs', `{logs: [{logsFile: "${podLog}", follow: true}]}`),
    rule('ClusterAttach', `{attaches: [{logsFile: "${podLog}"}]}`),
    rule('ClusterPortForward', '{forwards: [{command: [cat]}]}'),
  ].join('---\n');
}
