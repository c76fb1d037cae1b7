import { type Disk, DiskError, type DiskFile } from "@statemesh/ports";

/** A folder in memory. */
export function newFolder(): Disk {
  const files = new Map<string, Uint8Array>();
  const read = (name: string): Uint8Array => {
    const file = files.get(name);
    if (file === undefined) throw new DiskError("ENOENT", name);
    return file;
  };
  return {
    list: async () => [...files.keys()].sort(),
    read: async (name) => read(name),
    readRange: async (name, offset, length) => read(name).subarray(offset, offset + length),
    sizeOf: async (name) => read(name).length,
    openAppend: async (name): Promise<DiskFile> => {
      files.set(name, files.get(name) ?? new Uint8Array());
      return {
        get size() {
          return read(name).length;
        },
        append: async (pieces) => void files.set(name, Buffer.concat([read(name), ...pieces])),
        rewrite: async (at, bytes) => read(name).set(bytes, at),
        sync: async () => undefined,
        truncate: async (size) => void files.set(name, read(name).slice(0, size)),
        close: async () => undefined,
      };
    },
    rename: async (from, to) => {
      files.set(to, read(from));
      files.delete(from);
    },
    remove: async (name) => void files.delete(name),
    syncDirectory: async () => undefined,
  };
}
