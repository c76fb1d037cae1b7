// Whose folder this is. A log that is opened as another node, for another cluster, or with another number of groups
// would corrupt the cluster; so the folder says what it is, once, and is refused as anything else.
import { randomInt } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface Identity {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly groups: number;
  /** What is forgotten is part of the state: replicas that forget at different times would diverge. */
  readonly decisionWindow: number;
}

/** What stands in the folder. */
export interface FolderRecord extends Identity {
  /** Drawn when the folder was made, 1..2^48-1. */
  readonly folderId: number;
  /** All nodes of the cluster had met. */
  readonly founded: boolean;
  /** Folders of the other nodes when the cluster was founded, by node id. */
  readonly known: Readonly<Record<string, number>>;
}

const FILE = "identity.json";
const FIXED = ["clusterId", "nodeId", "groups", "decisionWindow"] as const;

/** Throws where the folder belongs to another node; marks it where it is new. */
export function claimFolder(folder: string, identity: Identity): FolderRecord {
  const path = join(folder, FILE);
  if (!existsSync(path)) {
    const record: FolderRecord = { ...identity, folderId: randomInt(1, 2 ** 48 - 1), founded: false, known: {} };
    writeRecord(folder, record);
    return record;
  }
  const found: unknown = JSON.parse(readFileSync(path, "utf8"));
  if (!isRecord(found)) throw new Error(`${path}: is not the identity of a data folder`);
  for (const key of FIXED) {
    if (found[key] !== identity[key]) throw new Error(`${path}: this folder has ${key} ${JSON.stringify(found[key])}, the node is started with ${JSON.stringify(identity[key])}`);
  }
  return found;
}

function isRecord(value: unknown): value is FolderRecord {
  return (
    typeof value === "object" &&
    value !== null &&
    "folderId" in value &&
    Number.isSafeInteger(value.folderId) &&
    "founded" in value &&
    typeof value.founded === "boolean" &&
    "known" in value &&
    typeof value.known === "object" &&
    value.known !== null
  );
}

/** Replaces the record, durably. */
export function writeRecord(folder: string, record: FolderRecord): void {
  const path = join(folder, FILE);
  const temporary = `${path}.tmp`;
  const file = openSync(temporary, "w", 0o600);
  writeSync(file, `${JSON.stringify(record)}\n`);
  fsyncSync(file);
  closeSync(file);
  renameSync(temporary, path);
  const directory = openSync(folder, "r");
  fsyncSync(directory);
  closeSync(directory);
}
