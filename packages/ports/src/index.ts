// The ports and their real adapters. Simulated ones are in the simulator.
export * from "./clock.ts";
export * from "./disk.ts";
export * from "./folder-disk.ts";
export * from "./system-clock.ts";
