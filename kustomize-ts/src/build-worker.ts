import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { HelmChart } from './charts.ts';
import { describeFailure, mounted } from './describe-failure.ts';
import type { Answer, Outcome, Question, Task, TaskResult } from './messages.ts';
import { askMap, RequestedFiles } from './requested-files.ts';
import { Sandbox } from './sandbox.ts';
import type { WorkerSetup } from './worker-setup.ts';

/** The thread that builds, one task after another. Who wants to end a task ends the thread. */

const { module, memoryLimitBytes, retainedMemoryBytes, flag, files: filePort } = workerData as WorkerSetup;
let sandbox: Sandbox | undefined;

/** Stands still until the other side has answered: the module cannot wait any other way. */
function askOtherSide(question: Question): Answer {
  Atomics.store(flag, 0, 0);
  filePort.postMessage(question);
  // The call that woke us may be that of the answer before, which is made after the flag was set.
  while (Atomics.load(flag, 0) === 0) Atomics.wait(flag, 0, 0);
  return (receiveMessageOnPort(filePort) as { message: Answer }).message;
}

function run(task: Task): TaskResult {
  sandbox ??= new Sandbox(module, memoryLimitBytes);
  if (task.kind === 'decode') {
    const content = typeof task.content === 'string' ? Buffer.from(task.content) : task.content;
    return finish(sandbox, sandbox.decode(content), '.');
  }
  const ask = {
    file: task.files === undefined ? (path: string) => askOtherSide({ kind: 'file', path }) : askMap(task.files),
    chart: (chart: HelmChart): Answer => (task.charts ? askOtherSide({ kind: 'chart', chart }) : { kind: 'missing' }),
  };
  const files = new RequestedFiles(ask, task.limits);
  return finish(sandbox, sandbox.build(mounted(task.path), task.objects, files), task.path, files);
}

function finish(used: Sandbox, outcome: Outcome, folder: string, files?: RequestedFiles): TaskResult {
  const printed = used.takePrinted();
  // The memory of an instance never shrinks.
  if (outcome.kind === 'crashed' || used.memoryBytes > retainedMemoryBytes) sandbox = undefined;
  return {
    outcome: outcome.kind === 'done' ? outcome : describeFailure(outcome, folder, files),
    printed,
    read: files?.readPaths ?? [],
    missing: files?.missingPaths ?? [],
    workedMs: workedMs(),
  };
}

/** Node has it since 23.9. */
function workedMs(): number | undefined {
  const usage = (process as Partial<NodeJS.Process>).threadCpuUsage?.();
  return usage === undefined ? undefined : (usage.user + usage.system) / 1_000;
}

const port = parentPort as MessagePort;
port.on('message', (task: Task) => {
  port.postMessage(run(task));
  // Nobody waits for this.
  sandbox?.rest();
});
