// What a game server says and hears besides the SDK's own classes: parts of the contract, and the arithmetic of regions.
// All messages and stubs of the contract are in `@statemesh/client/contract`.
export { AuthorityEvent_Kind, ConflictType, HandoffPhase, MeshError, Outcome, PartitionEvent, ReadLevel, Reasons, Side } from "@statemesh/contract";
export type {
  AuthorityEvent, Balance, Bounds, CausalEvent, Decision, DeliveredEvent, Entity, EntityChange, EntityKey, EventualUpdate, EventualValue, Footprint, GameServer,
  Handoff, HealReport, ItemStack, Operation, Position, PublishResponse, ReadResponse, Reason, Region, RegionAuthority, RouteResponse, SessionToken,
  SubscribeResponse, TransactResponse, VectorClock, WatchResponse, WatchViewResponse,
} from "@statemesh/contract";
export { formatRegion, neighboursOf, OVERLAP_M, overlappingNeighbours, parseRegion, REGION_EDGE_M, regionOf, sameRegion } from "@statemesh/world";
