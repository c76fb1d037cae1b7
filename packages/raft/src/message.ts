import type { LogEntry, RaftMessage, RaftMessageType } from "@statemesh/contract";

const NO_ENTRIES: LogEntry[] = [];

/** Bytes that framing adds to an entry's data in a message, at most. */
const ENTRY_OVERHEAD_BYTES = 32;

/** What an entry counts against limits in bytes. */
export function entryBytes(entry: LogEntry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

/** A message with everything else zero. One shape for all, so that readers of messages stay fast. */
export function makeMessage(groupId: number, type: RaftMessageType, from: number, to: number, term: number): RaftMessage {
  return {
    groupId, type, from, to, term,
    logIndex: 0, logTerm: 0, entries: NO_ENTRIES, commit: 0, reject: false, rejectHint: 0, context: 0, forced: false, quiesce: false,
  };
}

/** Whether the entries of an append follow one another, with terms that never fall and never pass the message's. */
export function isContiguous({ logIndex, logTerm, entries, term }: RaftMessage): boolean {
  let previousTerm = logTerm;
  for (let at = 0; at < entries.length; at++) {
    const entry = entries[at]!;
    if (entry.index !== logIndex + 1 + at || entry.term < previousTerm || entry.term > term) return false;
    previousTerm = entry.term;
  }
  return true;
}
