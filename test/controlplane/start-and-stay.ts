import { startControlPlane } from './control-plane.ts';

/** Owner of a control plane that does nothing more, for tests that kill it. Its only line is the control plane's directory. */
const controlPlane = await startControlPlane({}, new AbortController().signal);
process.stdout.write(`${controlPlane.directory}\n`);
setInterval(() => undefined, 60_000);
