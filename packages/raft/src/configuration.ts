/** Members of a group at most, in all roles: what keeps entries and quorum counts small. */
export const MAX_MEMBERS = 255;
const MAX_NODE_ID = 0xffff_ffff;
const FORMAT = 1;
const HEADER_BYTES = 4;
const ID_BYTES = 4;

/**
 * Who takes part in a group, in which role. Every list is ascending and without repeats.
 * A configuration with `outgoing` voters is joint: one that gives way to another, where both have to agree.
 */
export interface Configuration {
  /** Who decides; in a joint configuration, who will. Empty only where the configuration is not known yet. */
  readonly voters: readonly number[];
  /** The voters of the configuration that gives way; empty unless joint. */
  readonly outgoing: readonly number[];
  /** Who gets everything and decides nothing. A voter that steps down to learner is still in `outgoing` until the change is done. */
  readonly learners: readonly number[];
}

/** What a configuration shall become. */
export interface ConfigurationTarget {
  readonly voters: readonly number[];
  readonly learners: readonly number[];
}

/** Of a node that joins and has heard of no configuration. */
export const NO_CONFIGURATION: Configuration = { voters: [], outgoing: [], learners: [] };

/** The target as a configuration, or what is wrong with it. */
export function configurationOf(target: ConfigurationTarget): Configuration | string {
  for (const id of [...target.voters, ...target.learners]) {
    if (!Number.isSafeInteger(id) || id < 1 || id > MAX_NODE_ID) return "members must be whole numbers from 1 to 4,294,967,295";
  }
  const configuration: Configuration = { voters: ascending(target.voters), outgoing: [], learners: ascending(target.learners) };
  if (configuration.voters.length === 0) return "a configuration needs at least one voter";
  if (configuration.learners.some((id) => configuration.voters.includes(id))) return "a member must be voter or learner, not both";
  if (configuration.voters.length + configuration.learners.length > MAX_MEMBERS) return "a configuration must have at most 255 members";
  return configuration;
}

/**
 * The configuration that leads from `from` towards `to`. Voters only ever change through a joint configuration: with a
 * weighted quorum not even one voter more or less is safe without ({2} decides of 2 and 3; {1, 3} of 1, 2 and 3).
 */
export function stepTowards(from: Configuration, to: Configuration): Configuration {
  return same(from.voters, to.voters) ? to : { voters: to.voters, outgoing: from.voters, learners: to.learners };
}

/** The end of a joint configuration. */
export function leaveJoint({ voters, learners }: Configuration): Configuration {
  return { voters, outgoing: [], learners };
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

export function isMember({ voters, outgoing, learners }: Configuration, id: number): boolean {
  return voters.includes(id) || outgoing.includes(id) || learners.includes(id);
}

/** All members of any role, ascending. */
export function membersOf({ voters, outgoing, learners }: Configuration): number[] {
  return ascending([...voters, ...outgoing, ...learners]);
}

export function sameConfiguration(a: Configuration, b: Configuration): boolean {
  return same(a.voters, b.voters) && same(a.outgoing, b.outgoing) && same(a.learners, b.learners);
}

/**
 * The data of a configuration entry. A persistent format: a byte 1 (the format), a byte each for the number of voters, outgoing
 * voters and learners, then the ids of each as unsigned 32-bit numbers, little-endian, ascending.
 */
export function encodeConfiguration({ voters, outgoing, learners }: Configuration): Uint8Array {
  const data = new Uint8Array(HEADER_BYTES + ID_BYTES * (voters.length + outgoing.length + learners.length));
  data.set([FORMAT, voters.length, outgoing.length, learners.length]);
  const view = new DataView(data.buffer);
  let at = HEADER_BYTES;
  for (const id of [...voters, ...outgoing, ...learners]) {
    view.setUint32(at, id, true);
    at += ID_BYTES;
  }
  return data;
}

/** Undefined where the data is no configuration that this version can hold to. */
export function decodeConfiguration(data: Uint8Array): Configuration | undefined {
  const [format, voterCount, outgoingCount, learnerCount] = data;
  if (format !== FORMAT || voterCount === undefined || outgoingCount === undefined || learnerCount === undefined) return undefined;
  if (voterCount === 0 || data.length !== HEADER_BYTES + ID_BYTES * (voterCount + outgoingCount + learnerCount)) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = HEADER_BYTES;
  const take = (count: number): number[] => Array.from({ length: count }, () => view.getUint32((at += ID_BYTES) - ID_BYTES, true));
  const voters = take(voterCount);
  const outgoing = take(outgoingCount);
  const learners = take(learnerCount);
  if (![voters, outgoing, learners].every(isAscending) || learners.some((id) => voters.includes(id))) return undefined;
  return { voters, outgoing, learners };
}

function ascending(ids: readonly number[]): number[] {
  return [...new Set(ids)].sort((a, b) => a - b);
}

function isAscending(ids: readonly number[]): boolean {
  return ids.every((id, at) => id > (at === 0 ? 0 : ids[at - 1]!));
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, at) => id === b[at]);
}
