export * from "./clock.ts";
export * from "./disk.ts";
