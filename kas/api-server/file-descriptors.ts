import { createFileRegistry, type DescFile, type FileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/** The protocol files that kas is made of, by what reflection asks for. */
export class FileDescriptors {
  readonly #registry: FileRegistry;

  /** @param set a google.protobuf.FileDescriptorSet, as buf writes it */
  constructor(set: Uint8Array) {
    this.#registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, set));
  }

  /** A file and all it imports, each a google.protobuf.FileDescriptorProto; undefined for one that there is not. */
  byName(name: string): readonly Buffer[] | undefined {
    const file = this.#registry.getFile(name);
    return file === undefined
      ? undefined
      : withImports(file).map(({ proto }) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)));
  }

  /** The same for a message, enum or service, or a member of one: "kas.api.v1.AgentsService.ListConnectedAgents". */
  bySymbol(symbol: string): readonly Buffer[] | undefined {
    const name = symbol.replace(/^\./, '');
    const found = this.#registry.get(name) ?? this.#registry.get(name.slice(0, Math.max(0, name.lastIndexOf('.'))));
    if (found === undefined) return undefined;
    return this.byName(`${found.file.name}.proto`);
  }
}

function withImports(file: DescFile, seen = new Set<DescFile>()): DescFile[] {
  if (seen.has(file)) return [];
  seen.add(file);
  return [file, ...file.dependencies.flatMap((dependency) => withImports(dependency, seen))];
}
