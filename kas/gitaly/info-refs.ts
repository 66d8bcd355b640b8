import { malformed, parsePktLines } from './pkt-line.ts';

/** What a repository advertises: its refs, and where HEAD points. */
export interface AdvertisedRefs {
  /** Full ref name (`refs/heads/main`, `HEAD`) to object id. */
  readonly refs: ReadonlyMap<string, string>;
  /** Full name of an annotated tag to the id of what it finally points to. */
  readonly peeled: ReadonlyMap<string, string>;
  /** Ref that HEAD is a name for; undefined when HEAD is detached or its branch does not exist. */
  readonly headTarget: string | undefined;
}

const LINE = /^([0-9a-f]{40}|[0-9a-f]{64}) ([^\0\n]+)$/;
const NO_REFS = 'capabilities^{}';
const PEELED = '^{}';

/**
 * Parses the answer of `GET info/refs?service=git-upload-pack` (protocol version 0): service banner, flush, the refs
 * (the first with NUL and the capabilities), flush. Source: gitprotocol-http(5), gitprotocol-pack(5).
 * Throws a UserError `MalformedRefs` on anything else.
 */
export function parseInfoRefs(data: Buffer): AdvertisedRefs {
  const lines = parsePktLines(data);
  expectBanner(lines);
  const refs = new Map<string, string>();
  const peeled = new Map<string, string>();
  let capabilities: string | undefined;
  for (const packet of lines) {
    if (packet === 'flush') {
      if (lines.next().done !== true) throw malformed('there is something after its end');
      return { refs, peeled, headTarget: headTarget(capabilities ?? '', refs) };
    }
    let line = packet.toString('utf8').replace(/\n$/, '');
    if (capabilities === undefined) {
      const nul = line.indexOf('\0');
      if (nul === -1) throw malformed('the first ref has no capabilities');
      capabilities = line.slice(nul + 1);
      line = line.slice(0, nul);
    } else if (line.startsWith('shallow ')) {
      continue;
    }
    const [, oid, name] = LINE.exec(line) ?? [];
    if (oid === undefined || name === undefined) throw malformed('a line is not an object id and a name');
    if (name === NO_REFS) continue;
    if (name.endsWith(PEELED)) peeled.set(name.slice(0, -PEELED.length), oid);
    else refs.set(name, oid);
  }
  throw malformed('its end is missing');
}

function expectBanner(lines: Iterator<Buffer | 'flush'>): void {
  const banner = lines.next();
  const isBanner =
    banner.done !== true && banner.value !== 'flush' && /^# service=git-upload-pack\n?$/.test(banner.value.toString('latin1'));
  if (!isBanner) throw malformed('it does not begin with the service banner');
  if (lines.next().value !== 'flush') throw malformed('no flush packet after the service banner');
}

function headTarget(capabilities: string, refs: ReadonlyMap<string, string>): string | undefined {
  const symref = capabilities.split(' ').find((capability) => capability.startsWith('symref=HEAD:'));
  const target = symref?.slice('symref=HEAD:'.length);
  return target !== undefined && refs.has(target) ? target : undefined;
}
