/** A network of a round trip of its own as a program: `delay.ts PORT MILLISECONDS`. Prints its port. */

import { DelayProxy } from '../../harness/delay-proxy.ts';

const [port, roundTripMs] = process.argv.slice(2).map(Number);
const proxy = await DelayProxy.listen({ port: port ?? 0, roundTripMs: roundTripMs ?? 0 });
process.stdout.write(`${proxy.port}\n`);
