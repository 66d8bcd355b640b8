import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { describeFailure, mounted } from './describe-failure.ts';
import type { FileAnswer, FileQuestion, Outcome, Task, TaskResult } from './messages.ts';
import { type Ask, askMap, RequestedFiles } from './requested-files.ts';
import { Sandbox } from './sandbox.ts';
import type { WorkerSetup } from './worker-setup.ts';

/** The thread that builds, one task after another. Who wants to end a task ends the thread. */

const { module, memoryLimitBytes, retainedMemoryBytes, flag, files: filePort } = workerData as WorkerSetup;
let sandbox: Sandbox | undefined;

/** Stands still until the other side has answered: the module cannot wait any other way. */
const askOtherSide: Ask = (path) => {
  Atomics.store(flag, 0, 0);
  filePort.postMessage({ path } satisfies FileQuestion);
  Atomics.wait(flag, 0, 0);
  return (receiveMessageOnPort(filePort) as { message: FileAnswer }).message;
};

function run(task: Task): TaskResult {
  sandbox ??= new Sandbox(module, memoryLimitBytes);
  if (task.kind === 'decode') {
    const content = typeof task.content === 'string' ? Buffer.from(task.content) : task.content;
    return finish(sandbox, sandbox.decode(content), '.');
  }
  const files = new RequestedFiles(task.files === undefined ? askOtherSide : askMap(task.files), task.limits);
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
  };
}

const port = parentPort as MessagePort;
port.on('message', (task: Task) => port.postMessage(run(task)));
