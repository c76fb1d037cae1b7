// The process that disk-shim.test.ts puts under the shim: does to a folder what its arguments say, and prints the outcome of each.
import { FolderDisk } from "@statemesh/ports";
import type { DiskFile } from "@statemesh/ports";

const [folder = "", ...steps] = process.argv.slice(2);
const disk = await FolderDisk.open(folder);
const files = new Map<string, DiskFile>();

async function fileOf(name: string): Promise<DiskFile> {
  const file = files.get(name) ?? (await disk.openAppend(name));
  files.set(name, file);
  return file;
}

async function run(step: string): Promise<unknown> {
  const [verb, name = "", value = ""] = step.split(":");
  if (verb === "append") return await (await fileOf(name)).append([Buffer.from(value)]);
  if (verb === "rewrite") return await (await fileOf(name)).rewrite(0, Buffer.from(value));
  if (verb === "truncate") return await (await fileOf(name)).truncate(Number(value));
  if (verb === "sync") return await (await fileOf(name)).sync();
  if (verb === "names") return await disk.syncDirectory();
  if (verb === "rename") return await disk.rename(name, value);
  if (verb === "remove") return await disk.remove(name);
  if (verb === "read") return Buffer.from(await disk.read(name)).toString();
  throw new Error(`no such step: ${step}`);
}

for (const step of steps) {
  const outcome = await run(step).then(
    (value) => (typeof value === "string" ? value : "ok"),
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );
  process.stdout.write(`${outcome}\n`);
}
// The power goes, not the process's own end.
process.kill(process.pid, "SIGKILL");
