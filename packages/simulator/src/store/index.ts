// The region store on virtual time: its production logic over a simulated database.
export * from "./sim-redis.ts";
export * from "./sim-sql.ts";
export * from "./sim-causal.ts";
export * from "./sim-materialization.ts";
export * from "./sim-store.ts";
export * from "./sim-store-link.ts";
