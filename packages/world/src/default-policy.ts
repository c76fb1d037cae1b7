/** The policy that holds where the operator gives none: the one place that says so. */

/** In the format of docs/policy.md. */
export const DEFAULT_POLICY_TEXT = `version: 1

windows:
  compensation_ms: 200
  max_offset_ms: 500
  concurrency_ms: 250

servers:
  default_priority: 0
  priorities: {}

types:
  structure_placement:
    chain: [priority, timestamp, server_id, operation_id]
    tentative: true
  structure_removal:
    chain: [priority, timestamp, server_id, operation_id]
  resource_claim:
    chain: [timestamp, server_id, operation_id]
    tentative: true
  item_pickup:
    chain: [timestamp, server_id, operation_id]
  player_inventory:
    chain: [timestamp, server_id, operation_id]
  trade:
    chain: [timestamp, server_id, operation_id]
  container:
    chain: [timestamp, server_id, operation_id]
  escrow_opening:
    chain: [timestamp, server_id, operation_id]
  terrain_modification:
    chain: [merge, timestamp, server_id, operation_id]
    tentative: true
  creature_ownership:
    chain: [priority, timestamp, server_id, operation_id]
  creature_position:
    chain: [last_write_wins, server_id]
  cosmetic_effect:
    chain: [last_write_wins, server_id]
  automation_state:
    chain: [last_write_wins, server_id]
  power_grid_state:
    chain: [last_write_wins, server_id]
  event_sequence:
    chain: [last_write_wins, server_id]
`;
