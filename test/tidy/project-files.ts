import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Folder of the project. */
export const ROOT: string = join(import.meta.dirname, "..", "..");

const SKIPPED_FOLDERS = new Set([".git", "node_modules", ".cache", ".data", "dist", "coverage", "generated"]);
/** Made by `./dev generate`. */
const GENERATED_FOLDERS = new Set(["docs/api"]);
const BINARY = /\.(binpb|png|ico)$/;

/** A text file that people wrote. */
export interface ProjectFile {
  /** From the project's folder, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** Every hand-written file of the project. */
export function projectFiles(folder = ""): ProjectFile[] {
  return readdirSync(join(ROOT, folder))
    .toSorted()
    .flatMap((name) => {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (statSync(join(ROOT, path)).isDirectory()) return SKIPPED_FOLDERS.has(name) || GENERATED_FOLDERS.has(path) ? [] : projectFiles(path);
      return BINARY.test(name) || name.endsWith(".tsbuildinfo") ? [] : [{ path, text: readFileSync(join(ROOT, path), "utf8") }];
    });
}
