// Stands in PATH as kubectl for what a node answers: hands `exec` and `port-forward` to test/charts/node.ts.
import { connect } from 'node:net';
import { parseArgs } from 'node:util';
import type { Question } from './node.ts';

const args = process.argv.slice(2);
const end = args.indexOf('--');
const { values, positionals } = parseArgs({
  args: end < 0 ? args : args.slice(0, end),
  allowPositionals: true,
  options: { namespace: { type: 'string' }, container: { type: 'string', short: 'c' } },
});
const [command = '', target = '', ports = ''] = positionals;

function question(): Question {
  if (command === 'exec') {
    const workload = values.container ?? target.slice(target.indexOf('/') + 1);
    return { exec: args.slice(end + 1), namespace: values.namespace ?? '', workload };
  }
  const [here = '', there = here] = ports.split(':');
  return { forward: Number(here), to: Number(there) };
}

let text = '';
const socket = connect(process.env['NODE_SOCKET'] ?? '');
socket.write(`${JSON.stringify(question())}\n`);
for await (const chunk of socket) text += String(chunk);
const answer = JSON.parse(text) as { readonly stdout?: string; readonly error?: string };
if (answer.error !== undefined) {
  process.stderr.write(`${answer.error}\n`);
  process.exitCode = 1;
} else {
  process.stdout.write(answer.stdout ?? '');
  // A forwarded port is there until somebody ends this process.
  if (command === 'port-forward') setInterval(() => undefined, 60_000);
}
