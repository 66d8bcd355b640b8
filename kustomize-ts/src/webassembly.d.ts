/** What is used of WebAssembly's JavaScript interface: the compiler ships its types with those of browsers only. */
declare namespace WebAssembly {
  class Module {
    private constructor();
    static imports(module: Module): readonly { readonly module: string; readonly name: string }[];
  }

  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, ModuleImports>>);
    readonly exports: Readonly<Record<string, unknown>>;
  }

  class Memory {
    private constructor();
    readonly buffer: ArrayBuffer;
  }

  class RuntimeError extends Error {}

  type ModuleImports = Record<string, (...values: never[]) => unknown>;

  function compile(wasm: Uint8Array<ArrayBuffer>): Promise<Module>;
}
