import { type HelmChart, nameOfChart } from './charts.ts';
import type { ErrorPlace, KustomizeErrorCode } from './errors.ts';
import { fieldOf } from './field-of.ts';
import type { Failure, Outcome, Refused } from './messages.ts';
import type { RequestedFiles } from './requested-files.ts';

/** Where the module sees the tree; see go/tree.go. */
const MOUNT = '/tree';

const KUSTOMIZATION_FILES = ['kustomization.yaml', 'kustomization.yml', 'Kustomization'];

export function mounted(folder: string): string {
  return folder === '.' ? MOUNT : `${MOUNT}/${folder}`;
}

/**
 * Finds out what failed and where. Upstream's errors are text only: one sentence in the other, the innermost last.
 * @param folder of the kustomization that was to be built
 */
export function describeFailure(
  outcome: Exclude<Outcome, { kind: 'done' }>,
  folder: string,
  files: RequestedFiles | undefined,
): Refused {
  if (outcome.kind === 'crashed') return { kind: 'refused', ...crashOf(outcome) };
  const message = withoutAddresses(withoutMount(outcome.message)).trimEnd();
  const place = files === undefined ? {} : placeOf(message, folder, files);
  const { explanation, ...cause } = causeOf(outcome, message, place);
  return { kind: 'refused', ...cause, message: explanation ?? shortened(message), ...place };
}

function crashOf({ cause, message }: Extract<Outcome, { kind: 'crashed' }>): { code: KustomizeErrorCode; message: string } {
  switch (cause) {
    case 'memory':
      return { code: 'MemoryLimit', message: `The build needs more memory than it may have: ${message}` };
    case 'stack':
      return { code: 'TooLarge', message: `The files are nested too deeply: ${message}` };
    case 'fault':
      return { code: 'Crashed', message: `Kustomize failed by a fault of its own: ${message}` };
  }
}

/** Upstream may quote a whole object. What is wrong stands at the end. */
const MAX_MESSAGE_LENGTH = 4_000;

function shortened(message: string): string {
  if (message.length <= MAX_MESSAGE_LENGTH) return message;
  return `${message.slice(0, MAX_MESSAGE_LENGTH / 2)} … ${message.slice(-MAX_MESSAGE_LENGTH / 2)}`;
}

interface Cause {
  readonly code: KustomizeErrorCode;
  /** In place of upstream's message, where that does not help. */
  readonly explanation?: string;
  readonly chart?: HelmChart;
}

function causeOf({ refusal }: Failure, message: string, { file, field }: ErrorPlace): Cause {
  const where = file === undefined ? '' : ` (${file}${field === undefined ? '' : `, ${field}`})`;
  if (refusal !== undefined) return refusalOf(refusal, where);
  if (/no 'git' program on path|URL is a git repository/.test(message))
    return remote(/.*accumulating resources from '([^']*)'/s.exec(message)?.[1], where);
  const plugin = /external plugins disabled; unable to load external plugin '([^']*)'/.exec(message)?.[1];
  if (plugin !== undefined)
    return { code: 'PluginRefused', explanation: `${plugin} is not built in, and functions and plugins are refused${where}` };
  if (/unable to find one of 'kustomization.yaml'/.test(message)) return { code: 'KustomizationNotFound' };
  if (message.startsWith('must build at directory: ')) return { code: 'KustomizationNotFound' };
  if (/evalsymlink failure on .*: (?:lstat .*: no such file or directory|not a directory)/s.test(message))
    return { code: 'FileNotFound' };
  return { code: 'BuildFailed' };
}

function refusalOf({ reason, path }: NonNullable<Failure['refusal']>, where: string): Cause {
  switch (reason) {
    case 'remote':
      return remote(path, where);
    case 'outside':
      return { code: 'OutsideTree', explanation: `${path} is outside of the given files${where}` };
    case 'link':
      return { code: 'SymbolicLink', explanation: `${path} is a symbolic link or behind one, which is refused${where}` };
    case 'name':
      return { code: 'InvalidPath', explanation: `${JSON.stringify(withoutMount(path))} cannot be the name of a file${where}` };
    case 'too large':
      return { code: 'TooLarge', explanation: `${path} is larger than a file may be, or one more than there may be${where}` };
    case 'unavailable':
      return { code: 'FileNotFound', explanation: `${path} cannot be read${where}` };
    case 'chart':
      return chartRefused(JSON.parse(path) as HelmChart, where);
  }
}

function chartRefused(chart: HelmChart, where: string): Cause {
  const explanation = `No helm is run, and nobody gave what the chart ${nameOfChart(chart)} is when rendered${where}`;
  return { code: 'HelmRefused', explanation, chart };
}

function remote(what: string | undefined, where: string): Cause {
  const subject = what === undefined ? 'A base of another repository' : what;
  return {
    code: 'RemoteResource',
    explanation: `${subject} is remote, and nothing is read over the network: copy it into the tree${where}`,
  };
}

function placeOf(message: string, folder: string, files: RequestedFiles): ErrorPlace {
  const unloaded = lastMatch(message, /couldn't make target for path '([^']*)'/g);
  const failing = unloaded ?? lastMatch(message, /recursed accumulation of path '([^']*)'/g) ?? folder;
  const innermost = message.slice(Math.max(0, message.lastIndexOf(`path '${failing}': `)));
  const file = kustomizationIn(failing, files);
  const content = files.contentOf(file)?.toString('utf8') ?? '';
  const missing = /unable to find one of 'kustomization.yaml'/.test(message);
  const field = missing && unloaded !== undefined ? 'resources' : fieldOf(innermost, content);
  const resource = resourceOf(innermost);
  return { file, ...(field === undefined ? {} : { field }), ...(resource === undefined ? {} : { resource }) };
}

function lastMatch(text: string, pattern: RegExp): string | undefined {
  return [...text.matchAll(pattern)].at(-1)?.[1];
}

/** The folder itself when it has none, or several. */
function kustomizationIn(folder: string, files: RequestedFiles): string {
  const paths = KUSTOMIZATION_FILES.map((name) => (folder === '.' ? name : `${folder}/${name}`));
  const [only, another] = paths.filter((path) => files.contentOf(path) !== undefined);
  return only === undefined || another !== undefined ? folder : only;
}

const RESOURCE_ID = /\b[A-Z]\w*\.(?:\[noVer\]|v\d\w*)\.(?:\[noGrp\]|[\w.-]+)\/[\w.:-]+\.(?:\[noNs\]|[\w-]+)/;
const RESOURCE_STRUCT = /Group:"([^"]*)", Version:"([^"]*)", Kind:"([^"]*)".*?Name:"([^"]*)", Namespace:"([^"]*)"/;

/** The first one named, in the form that upstream prefers. */
function resourceOf(message: string): string | undefined {
  const struct = RESOURCE_STRUCT.exec(message);
  if (struct === null) return RESOURCE_ID.exec(message)?.[0];
  const [, group, version, kind, name, namespace] = struct;
  return `${kind}.${version || '[noVer]'}.${group || '[noGrp]'}/${name}.${namespace || '[noNs]'}`;
}

/** Addresses of upstream's memory say nothing, and differ each time. */
export function withoutAddresses(message: string): string {
  return message.replace(/&\{0x[0-9a-f]+ <nil>\}/g, '');
}

/** Paths as people know them: from the root of the tree, which is `.` itself. */
export function withoutMount(message: string): string {
  return message.replace(/(?<![\w./-])\/tree(\/|(?![\w./-]))/g, (_, slash: string) => (slash === '/' ? '' : '.'));
}
