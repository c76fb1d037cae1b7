// A consensus node without sockets: what a real process and a simulated one have in common.
export * from "./arbiter-pool.ts";
export * from "./authority.ts";
export * from "./handoffs.ts";
export * from "./placement.ts";
export * from "./identity.ts";
export * from "./member-changes.ts";
export * from "./node-ports.ts";
export * from "./node-runtime.ts";
export * from "./peer-door.ts";
export * from "./peer-link.ts";
export * from "./shard-calls.ts";
export * from "./snapshot-sender.ts";
export * from "./snapshot-transfer.ts";
export * from "./storage.ts";
export * from "./peer-book.ts";
export * from "./view-calls.ts";
export * from "./waiting-room.ts";
