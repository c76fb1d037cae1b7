// Stubs and the descriptor image, from proto/.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { runTool, type StepResult } from "./step.ts";

/** Where the generated files are in the project. */
export const GENERATED_FOLDER = "packages/contract/src/generated";
export const IMAGE_FILE = "packages/contract/image.binpb";

/** Generates into `target`, an empty folder that stands for the project's. */
export function generateCode(target: string): StepResult {
  mkdirSync(join(target, GENERATED_FOLDER), { recursive: true });
  const generated = runTool("buf", ["generate", "--output", target]);
  if (!generated.ok) return generated;
  const folder = join(target, GENERATED_FOLDER);
  for (const file of typescriptFiles(folder)) {
    const path = join(folder, file);
    writeFileSync(path, withFastWire(readFileSync(path, "utf8"), file));
  }
  return runTool("buf", ["build", "--output", join(target, IMAGE_FILE)]);
}

/** Paths below the folder, sorted. */
export function typescriptFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .toSorted();
}

const NEW_BYTES = "new Uint8Array(0)";

/**
 * The generated code with the reader and writer of packages/contract/src/wire.ts, which read and write 64-bit
 * integers as numbers. ts-proto goes through BigInt and a string for each, and that is most of the cost of a message.
 * And no bytes are one object: a message that is read begins with one for each of its fields of bytes, and an array of its own costs more than all else of a small message.
 */
export function withFastWire(code: string, file: string): string {
  const wire = relative(join(file, ".."), "../wire.ts").replaceAll("\\", "/");
  const fast = code
    .replace('{ BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire"', `{ BinaryReader, BinaryWriter${code.includes(NEW_BYTES) ? ", NO_BYTES" : ""} } from "${wire}"`)
    .replaceAll(NEW_BYTES, "NO_BYTES")
    .replace(/\nfunction longToNumber\(int64: \{ toString\(\): string \}\): number \{\n[^]*?\n\}\n/, "")
    .replaceAll(/longToNumber\(reader\.(u?int64|fixed64)\(\)( as Long)?\)/g, (_whole, kind: string) => `reader.${kind}Number()`)
    .replaceAll(/(writer|writer\.uint32\(\d+\))\.(u?int64|fixed64)\(/g, (_whole, target: string, kind: string) => `${target}.${kind}Number(`)
    .replaceAll(/Buffer\.from\((\w+\.encode\(value\)\.finish\(\))\)/g, "$1");
  const left = /longToNumber|\.(?:u?int64|s?fixed64|sint64|float|sfixed32)\(/.exec(fast);
  if (left !== null) throw new Error(`${file}: "${left[0]}" is left of the slow 64-bit code; packages/contract/src/wire.ts has no such type yet`);
  return fast;
}
