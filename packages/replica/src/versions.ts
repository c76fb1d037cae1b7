// Versions of the operation log, of snapshots and of the peer protocol: one number for all three, because what a node can
// read decides whom it can work with.

/** What a node reads and says. */
export interface VersionRange {
  /** Speaks with nodes down to this version. */
  readonly min: number;
  /** Reads everything up to this version. */
  readonly max: number;
}

/**
 * What this code reads and says.
 * - 1: operations, the directory, fences.
 * - 2: the cluster's version and its members are on record in group 0.
 * - 3: views, handoffs, backups that take over, what game servers say of their load; eventual values are repaired in parts; transactions
 *   across groups; who sends a snapshot says who it is; operations that were kept on the losing side of a partition are healed.
 * - 4: footprints that reach into other groups; containers; groups count by account what is minted, burned, received and given.
 * - 5: escrows; what operations expect of entities of an operator's own types.
 */
export const VERSIONS: VersionRange = { min: 1, max: 5 };

/** From this version on the members of a cluster are on record, and can be changed. */
export const MEMBERSHIP_VERSION = 2;

/** From this version on regions are handed over, backed up and given out. */
export const AUTHORITY_VERSION = 3;

/** A node that speaks this version says who it is on the first part of a snapshot that it sends. */
export const SNAPSHOT_HELLO_VERSION = 3;

/** From this version on nodes tell one another whom they hear, and agree on views. */
export const VIEWS_VERSION = 3;

/** From this version on nodes ask each other for the parts of regions whose eventual values differ. */
export const REPAIR_VERSION = 3;

/** From this version on a transaction may reach several groups. */
export const TRANSACTIONS_VERSION = 3;

/** From this version on an operation's box, keys and regions may reach other groups, which keep its footprint. */
export const FOOTPRINTS_VERSION = 4;

/** From this version on nodes that are cut off may keep operations, and leaders heal them. */
export const HEALING_VERSION = 3;

/** From this version on there are containers, which hold items and one another. */
export const CONTAINERS_VERSION = 4;

/** From this version on groups count how accounts came to what they hold. */
export const FLOWS_VERSION = 4;

/** From this version on items can be set apart, and spent through a node that is cut off. */
export const ESCROW_VERSION = 5;

/** From this version on an operation may say what it expects of its entity. */
export const CONDITIONS_VERSION = 5;

/** What is to be read was written by a newer version. The node has to stop: guessing would make its state another one than the others'. */
export class NewerVersionError extends Error {
  override readonly name = "NewerVersionError";

  /** @param what What cannot be read, such as `entry 17 of group 0`. */
  constructor(what: string, needed: number, { max }: VersionRange) {
    super(`${what} needs version ${needed}, and this node reads up to version ${max}: start it with a build that is as new as those of the other nodes. Nothing was changed`);
  }
}
