// The write-ahead log and the snapshot files of a node, over the disk port.
//
// The order that makes a restart right: a snapshot file is finished, then its mark is appended to the log, and only when that is durable
// are the Raft core and the log compacted and older files removed. After a restart the log's mark says which file counts; a newer file
// is one whose mark was not durable, and is of no use.
export * from "./wal-error.ts";
export * from "./write-ahead-log.ts";
export * from "./inspection.ts";
export type { GroupUpdate } from "./records.ts";
export type { RecoveredGroup } from "./replayed-group.ts";
export * from "./record-file.ts";
export * from "./snapshot-store.ts";
