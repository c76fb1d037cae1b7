// `@statemesh/client/contract`: every message and stub of statemesh.v1, for those who call the services themselves.
export * from "@statemesh/contract";
