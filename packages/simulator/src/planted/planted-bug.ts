import type { PlainRecord } from "../tier.ts";

/** One replacement in a source file. */
export interface SourceEdit {
  /** From the project's folder, with `/`. */
  readonly file: string;
  /** Text that is in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** A bug that a build of the production code gets on its way into a test process. Nothing in the code itself knows of it. */
export interface PlantedBug {
  /** In the list of this folder, from 1. */
  readonly number: number;
  /** Lower case, with hyphens. */
  readonly name: string;
  /** What is wrong, and where the bug is the nearest equivalent of another one. */
  readonly breaks: string;
  /** The tier that has to find it. */
  readonly tier: "raft" | "mesh" | "cache";
  /** Settings that lead to where it shows; all others are drawn as ever. */
  readonly hints?: PlainRecord;
  readonly edits: readonly SourceEdit[];
}

/** The source of `file` with a bug's edits. Throws where a text to replace is not there exactly once. */
export function plant(bug: PlantedBug, file: string, source: string): string {
  let planted = source;
  for (const edit of bug.edits) {
    if (edit.file !== file) continue;
    const at = planted.indexOf(edit.find);
    if (at < 0) throw new Error(`${bug.name}: ${file} does not hold the text to replace: ${edit.find}`);
    if (planted.includes(edit.find, at + 1)) throw new Error(`${bug.name}: ${file} holds the text to replace more than once: ${edit.find}`);
    planted = planted.slice(0, at) + edit.replace + planted.slice(at + edit.find.length);
  }
  return planted;
}
