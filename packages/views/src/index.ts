// Who hears whom, who goes on after a split, and what a cluster agrees on about it. No clock and no random source: times come in.
export * from "./heartbeats.ts";
export * from "./link-graph.ts";
export * from "./link-watch.ts";
export * from "./partition-watch.ts";
export * from "./report-table.ts";
export * from "./side.ts";
export * from "./suspicion.ts";
export * from "./verdict.ts";
export * from "./view.ts";
