// Whose folder this is. A log that is opened as another node, for another cluster, or with another number of groups
// would corrupt the cluster; so the folder says what it is, once, and is refused as anything else.
import { type Disk, DiskError, type Random } from "@statemesh/ports";

export interface Identity {
  readonly clusterId: string;
  /** 0: none yet, the cluster gives one. */
  readonly nodeId: number;
  readonly groups: number;
  /** What is forgotten is part of the state: replicas that forget at different times would diverge. */
  readonly decisionWindow: number;
}

/** A node as others know it. */
export interface KnownMember {
  readonly nodeId: number;
  /** Where other nodes reach it. */
  readonly address: string;
  readonly folderId: number;
}

/** What stands in the folder. */
export interface FolderRecord extends Identity {
  /** The node id was given by the cluster, whatever the node is started with. */
  readonly assigned: boolean;
  /** Who founded the cluster; empty in the folder of a node that joined it later. */
  readonly founders: readonly number[];
  /** The members on record as they were last seen; empty before there are any. */
  readonly members: readonly KnownMember[];
  /** Drawn when the folder was made, 1..2^48-1. */
  readonly folderId: number;
  /** All nodes of the cluster had met, or the cluster gave this one its place. */
  readonly founded: boolean;
  /** Folders of the other nodes, by node id. */
  readonly known: Readonly<Record<string, number>>;
  /** The node joined, and never began a log: that there is none is no loss. */
  readonly isUnused: boolean;
  /** The number of its last start; 0: none was written down. */
  readonly incarnation: number;
}

const FILE = "identity.json";
const TEMPORARY = `${FILE}.tmp`;
const FIXED = ["clusterId", "nodeId", "groups", "decisionWindow"] as const;

/**
 * Throws where the folder belongs to another node; marks it where it is new. `founders`: who founds the cluster, this node
 * included; empty on a node that joins one.
 */
export async function claimFolder(folder: Disk, identity: Identity, founders: readonly number[], random: Random): Promise<FolderRecord> {
  const text = await readIfThere(folder);
  if (text === undefined) {
    const folderId = 1 + Math.floor(random.next() * (2 ** 48 - 1));
    const record: FolderRecord = { ...identity, folderId, assigned: false, founders, members: [], founded: false, known: {}, isUnused: founders.length === 0, incarnation: 0 };
    await writeRecord(folder, record);
    return record;
  }
  const found = parse(text);
  if (!isRecord(found)) throw new Error(`${FILE}: is not the identity of a data folder`);
  // Folders of the first versions do not say who founded the cluster: that was everybody.
  const record: FolderRecord = { ...found, assigned: found.assigned ?? false, founders: found.founders ?? founders, members: found.members ?? [], isUnused: found.isUnused ?? false, incarnation: found.incarnation ?? 0 };
  for (const key of FIXED) {
    if (key === "nodeId" && record.assigned) continue;
    if (record[key] !== identity[key]) throw new Error(`${FILE}: this folder has ${key} ${JSON.stringify(record[key])}, the node is started with ${JSON.stringify(identity[key])}`);
  }
  return record;
}

/** The cluster gives this folder its node id. What it holds so far is a copy, and stays one. */
export async function takePlace(folder: Disk, record: FolderRecord, nodeId: number, members: readonly KnownMember[]): Promise<void> {
  const known = Object.fromEntries(members.filter((member) => member.nodeId !== nodeId).map((member) => [member.nodeId, member.folderId]));
  await writeRecord(folder, { ...record, nodeId, assigned: true, founded: true, known, members });
}

/**
 * A start of the node: its log is there, durably, so from now on it must be; and the start gets a number above that of every earlier
 * one, whatever the clock says, because what this start numbers must not be taken for what an earlier one did. `atLeast`: what the
 * clock makes of it, so that the number grows also where the folder is new.
 */
export async function beginStart(folder: Disk, record: FolderRecord, atLeast: number): Promise<FolderRecord> {
  const begun = { ...record, isUnused: false, incarnation: Math.max(record.incarnation + 1, atLeast) };
  try {
    await writeRecord(folder, begun);
  } catch (error) {
    // A node must be able to start on a full disk. Its next start knows of this one by the clock alone then.
    if (record.isUnused || !(error instanceof DiskError && error.isNoSpace)) throw error;
  }
  return begun;
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

function isRecord(value: unknown): value is Omit<FolderRecord, "assigned" | "founders" | "members" | "isUnused" | "incarnation"> & Partial<FolderRecord> {
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
  // After a power cut in the middle of a rename this name may stand for the very file that has the other one.
  await folder.remove(TEMPORARY);
  const file = await folder.openAppend(TEMPORARY);
  await file.append([new TextEncoder().encode(`${JSON.stringify(record)}\n`)]);
  await file.sync();
  await file.close();
  await folder.rename(TEMPORARY, FILE);
  await folder.syncDirectory();
}
