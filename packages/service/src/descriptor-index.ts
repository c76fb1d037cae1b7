import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type DescriptorProto, type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/**
 * The files of a descriptor set as buf built it, by name and by symbol. They are handed out as they are: dynamic
 * loaders rebuild descriptors, merge the files of a package and lose the `map_entry` option on the way (grpcurl
 * issue 519).
 */
export class DescriptorIndex {
  readonly #files = new Map<string, FileDescriptorProto>();
  readonly #bySymbol = new Map<string, FileDescriptorProto>();
  readonly #encoded = new Map<string, Uint8Array>();

  constructor(image: Uint8Array) {
    for (const file of fromBinary(FileDescriptorSetSchema, image).file) {
      this.#files.set(file.name, file);
      this.#encoded.set(file.name, toBinary(FileDescriptorProtoSchema, file));
      this.#index(file);
    }
  }

  #index(file: FileDescriptorProto): void {
    const prefix = file.package === "" ? "" : `${file.package}.`;
    const add = (symbol: string): void => void this.#bySymbol.set(symbol, file);
    const addMessage = (message: DescriptorProto, scope: string): void => {
      const name = scope + message.name;
      add(name);
      for (const field of message.field) add(`${name}.${field.name}`);
      for (const nested of message.enumType) add(`${name}.${nested.name}`);
      for (const nested of message.nestedType) addMessage(nested, `${name}.`);
    };
    for (const message of file.messageType) addMessage(message, prefix);
    for (const each of file.enumType) add(prefix + each.name);
    for (const service of file.service) {
      add(prefix + service.name);
      for (const method of service.method) add(`${prefix}${service.name}.${method.name}`);
    }
  }

  /** The encoded file of that name and everything that it imports, itself first; undefined where there is none. */
  withImports(name: string): Uint8Array[] | undefined {
    if (!this.#files.has(name)) return undefined;
    const names = new Set([name]);
    for (const each of names) for (const dependency of this.#files.get(each)?.dependency ?? []) names.add(dependency);
    return [...names].flatMap((each) => this.#encoded.get(each) ?? []);
  }

  /** Name of the file that defines `package.Service`, `package.Message.field`, ... */
  fileOf(symbol: string): string | undefined {
    return this.#bySymbol.get(symbol)?.name;
  }
}
