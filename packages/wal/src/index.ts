// The write-ahead log and the snapshot files of a node, over the disk port.
export * from "./wal-error.ts";
export * from "./write-ahead-log.ts";
export type { GroupUpdate } from "./records.ts";
export type { RecoveredGroup } from "./recovery.ts";
export * from "./snapshot-store.ts";
