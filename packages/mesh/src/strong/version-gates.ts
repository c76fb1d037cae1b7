// What an operation may ask for depends on what every node of the cluster knows of: else it is refused by name, before anybody is asked.
import { MeshError } from "@statemesh/contract";
import { CONDITIONS_VERSION, CONTAINERS_VERSION, destinationOf, hasConditions, needsContainers, type PendingOperation, TRANSACTIONS_VERSION } from "@statemesh/replica";

/** What the cluster's version says that all nodes know. */
export interface KnownToAll {
  /** True where every member knows transactions across groups. */
  spansGroups(): boolean;
  /** Every node knows of containers. */
  hasContainers(): boolean;
  /** Every node knows of what operations expect of an entity. */
  hasConditions(): boolean;
}

export function knownToAll(version: () => number): KnownToAll {
  return { spansGroups: () => version() >= TRANSACTIONS_VERSION, hasContainers: () => version() >= CONTAINERS_VERSION, hasConditions: () => version() >= CONDITIONS_VERSION };
}

/** @throws MeshError VERSION_TOO_LOW */
export function checkVersion({ operation }: PendingOperation, all: KnownToAll): void {
  if (needsContainers(operation) && !all.hasContainers()) throw new MeshError("VERSION_TOO_LOW", "containers: there are some once every node runs a build that knows them");
  if (hasConditions(operation) && !all.hasConditions()) {
    throw new MeshError("VERSION_TOO_LOW", "custom.expectation, custom.observed_version: operations say what they expect once every node runs a build that knows how");
  }
  if (destinationOf(operation) !== undefined && !all.spansGroups()) throw new MeshError("VERSION_TOO_LOW", "to_region: entities go to other regions once every node runs a build that knows how");
}
