// What a game server says and hears besides the SDK's own classes: parts of the contract, and the arithmetic of regions.
// All messages and stubs of the contract are in `@statemesh/client/contract`.
export { AuthorityEvent_Kind, ConflictType, EscrowState, HandoffPhase, MeshError, Outcome, PartitionEvent, ReadLevel, Reasons, Side } from "@statemesh/contract";
export type {
  AuthorityEvent, Balance, Bounds, CausalEvent, ContainerContents, Decision, DeliveredEvent, Entity, EntityChange, EntityKey, Escrow, EventualUpdate, EventualValue, Footprint,
  GameServer, GetHealReportResponse, GetStatusResponse, Handoff, HealReport, ItemStack, LoadRegionResponse, LogPosition, Operation, Position, PublishResponse,
  ReadResponse, ReadSnapshotResponse, Reason, Region, RegionAuthority, RegionLayer, RegionRecord, RenewResponse, RouteResponse, ServerLoad, SessionToken, SpatialQuery, SpendEscrowResponse,
  StoreRegionResponse, SubscribeResponse, TransactResponse, VectorClock, VerifyConservationResponse, WatchConservationResponse, WatchResponse, WatchTentativeResponse,
  WatchViewResponse,
} from "@statemesh/contract";
export { formatRegion, neighboursOf, OVERLAP_M, overlappingNeighbours, parseRegion, REGION_EDGE_M, regionOf, sameRegion } from "@statemesh/world";
