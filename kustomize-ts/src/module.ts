import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { withMaximumMemory } from './memory-section.ts';

const decompress = promisify(brotliDecompress);

/** The module as it is shipped. */
export const MODULE_URL = new URL('../wasm/kustomize.wasm.br', import.meta.url);

/** Compiles a module, compressed when its name ends in `.br`, such that no instance can have more memory than that. */
export async function compileModule(location: URL, memoryLimitBytes: number): Promise<WebAssembly.Module> {
  const stored = await readFile(location);
  const wasm = location.pathname.endsWith('.br') ? await decompress(stored) : stored;
  return await WebAssembly.compile(withMaximumMemory(wasm, memoryLimitBytes));
}
