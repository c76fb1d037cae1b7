// The persistent formats of consensus nodes: not part of the services' contract.
export * from "./generated/statemesh/internal/v1/log.ts";
export { BinaryReader, BinaryWriter } from "./wire.ts";
