// Whose folder this is. A log that is opened as another node, for another cluster, or with another number of groups
// would corrupt the cluster; so the folder says what it is, once, and is refused as anything else.
import { type Disk, DiskError, type Random } from "@statemesh/ports";

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
const TEMPORARY = `${FILE}.tmp`;
const FIXED = ["clusterId", "nodeId", "groups", "decisionWindow"] as const;

/** Throws where the folder belongs to another node; marks it where it is new. */
export async function claimFolder(folder: Disk, identity: Identity, random: Random): Promise<FolderRecord> {
  const text = await readIfThere(folder);
  if (text === undefined) {
    const record: FolderRecord = { ...identity, folderId: 1 + Math.floor(random.next() * (2 ** 48 - 1)), founded: false, known: {} };
    await writeRecord(folder, record);
    return record;
  }
  const found = parse(text);
  if (!isRecord(found)) throw new Error(`${FILE}: is not the identity of a data folder`);
  for (const key of FIXED) {
    if (found[key] !== identity[key]) throw new Error(`${FILE}: this folder has ${key} ${JSON.stringify(found[key])}, the node is started with ${JSON.stringify(identity[key])}`);
  }
  return found;
}

async function readIfThere(folder: Disk): Promise<string | undefined> {
  try {
    return new TextDecoder().decode(await folder.read(FILE));
  } catch (error) {
    if (error instanceof DiskError && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
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

/** Replaces the record; durable once it resolves, and never half there. */
export async function writeRecord(folder: Disk, record: FolderRecord): Promise<void> {
  const file = await folder.openAppend(TEMPORARY);
  if (file.size > 0) await file.truncate(0);
  await file.append([new TextEncoder().encode(`${JSON.stringify(record)}\n`)]);
  await file.sync();
  await file.close();
  await folder.rename(TEMPORARY, FILE);
  await folder.syncDirectory();
}
