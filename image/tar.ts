/** What a root file system has at a path. */
export type Entry =
  | { readonly kind: 'file'; readonly content: Uint8Array; readonly mode: number }
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string };

/** Entries by their paths, without a slash at the beginning. All belong to root. */
export type Tree = ReadonlyMap<string, Entry>;

const BLOCK = 512;
const TYPES = { file: '0', link: '2', folder: '5' } as const;

/**
 * A tar archive whose bytes depend on the entries alone: sorted, of root, from 1970. Folders that entries are in come before
 * them. Format: ustar, <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06>.
 */
export function tar(tree: Tree): Buffer {
  const blocks: Buffer[] = [];
  for (const [path, entry] of [...withFolders(tree)].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const content = entry.kind === 'file' ? entry.content : new Uint8Array();
    blocks.push(header(path, entry, content.length), Buffer.from(content), Buffer.alloc(-content.length & (BLOCK - 1)));
  }
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function withFolders(tree: Tree): Tree {
  const all = new Map(tree);
  for (const path of tree.keys())
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end);
      if (!all.has(folder)) all.set(folder, { kind: 'folder', mode: 0o755 });
    }
  return all;
}

function header(path: string, entry: Entry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const { name, prefix } = splitName(entry.kind === 'folder' ? `${path}/` : path);
  block.write(name, 0);
  writeOctal(block, 100, 8, entry.kind === 'link' ? 0o777 : entry.mode);
  // Owner, group, size, and the time, in seconds.
  writeOctal(block, 108, 8, 0);
  writeOctal(block, 116, 8, 0);
  writeOctal(block, 124, 12, size);
  writeOctal(block, 136, 12, 0);
  block.write(' '.repeat(8), 148);
  block.write(TYPES[entry.kind], 156);
  if (entry.kind === 'link') {
    if (Buffer.byteLength(entry.target) > 100) throw new RangeError(`${path} leads too far for a tar archive`);
    block.write(entry.target, 157);
  }
  block.write('ustar\x0000', 257, 'latin1');
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function writeOctal(block: Buffer, at: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), at);
}

/** A name has 100 bytes, and 155 more for folders before it. */
function splitName(path: string): { name: string; prefix: string } {
  if (Buffer.byteLength(path) <= 100) return { name: path, prefix: '' };
  for (let at = path.indexOf('/'); at !== -1 && at < path.length - 1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)];
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) return { name, prefix };
  }
  throw new RangeError(`${path} is too long for a tar archive`);
}
