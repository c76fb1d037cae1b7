// Whose folder this is. A log that is opened as another node, for another cluster, or with another number of groups
// would corrupt the cluster; so the folder says what it is, once, and is refused as anything else.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface Identity {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly groups: number;
  /** What is forgotten is part of the state: replicas that forget at different times would diverge. */
  readonly decisionWindow: number;
}

const FILE = "identity.json";

/** Throws where the folder belongs to another node; marks it where it is new. */
export function claimFolder(folder: string, identity: Identity): void {
  const path = join(folder, FILE);
  if (existsSync(path)) {
    const found: unknown = JSON.parse(readFileSync(path, "utf8"));
    for (const key of ["clusterId", "nodeId", "groups", "decisionWindow"] as const) {
      const value = typeof found === "object" && found !== null && key in found ? (found as Record<string, unknown>)[key] : undefined;
      if (value !== identity[key]) throw new Error(`${path}: this folder has ${key} ${JSON.stringify(value)}, the node is started with ${JSON.stringify(identity[key])}`);
    }
    return;
  }
  const temporary = `${path}.tmp`;
  write(temporary, `${JSON.stringify(identity)}\n`);
  renameSync(temporary, path);
  const directory = openSync(folder, "r");
  fsyncSync(directory);
  closeSync(directory);
}

function write(path: string, text: string): void {
  const file = openSync(path, "w", 0o600);
  writeSync(file, text);
  fsyncSync(file);
  closeSync(file);
}
