import { join } from 'node:path';
import type { Binaries } from './binaries.ts';

/** Where one control plane listens and keeps its files. */
export interface Layout {
  readonly directory: string;
  readonly etcdPort: number;
  readonly etcdPeerPort: number;
  readonly apiServerPort: number;
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

export function kwok(binaries: Binaries, layout: Layout): Component {
  return {
    name: 'kwok',
    command: binaries.kwok,
    args: [
      `--kubeconfig=${files(layout.directory).adminKubeconfig}`,
      '--manage-all-nodes=true',
      '--node-lease-duration-seconds=40',
      ...binaries.kwokStages.map((path) => `--config=${path}`),
    ],
  };
}
