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
    logIndex: 0, logTerm: 0, entries: NO_ENTRIES, commit: 0, reject: false, rejectHint: 0, context: 0, forced: false,
  };
}
