/** Canonical gRPC status codes that StateMesh answers with. */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type Code = (typeof Code)[keyof typeof Code];

/**
 * Every reason that an error of StateMesh can carry (`google.rpc.ErrorInfo.reason`, domain `statemesh`),
 * with its code. The set is closed: an error outside of it is a defect and is answered as INTERNAL.
 */
export const Reasons = {
  /** A field is missing, malformed or out of its range; the message names the field and the rule. */
  INVALID_FIELD: Code.INVALID_ARGUMENT,
  /** The bytes are not the message, or an integer passes 2^53-1. */
  MALFORMED_MESSAGE: Code.INVALID_ARGUMENT,
  /** The message is larger than the server takes. */
  MESSAGE_TOO_LARGE: Code.INVALID_ARGUMENT,
  /** The type is not in the policy table, or not of a class that the call serves. */
  UNKNOWN_TYPE: Code.INVALID_ARGUMENT,
  /** The claimed time is further ahead than the maximum offset. */
  TIMESTAMP_IN_FUTURE: Code.INVALID_ARGUMENT,
  /** The page token is not from this call with these arguments. */
  INVALID_PAGE_TOKEN: Code.INVALID_ARGUMENT,
  /** Events after this page token are kept no more: begin anew with an empty one. Metadata holds `region`. */
  HISTORY_TRIMMED: Code.OUT_OF_RANGE,
  /** The resume token is not from this cluster or was damaged. */
  INVALID_RESUME_TOKEN: Code.INVALID_ARGUMENT,
  /** The causal token names events that this node does not have yet: try again in `retry_delay`, or ask the node that gave it. */
  TOKEN_AHEAD: Code.UNAVAILABLE,
  /** The operation id was used with other content; metadata names both fingerprints. */
  OPERATION_ID_REUSED: Code.ALREADY_EXISTS,
  /** The claimed time is older than the decisions that are kept: whether the id was decided is no longer known. */
  DECISION_FORGOTTEN: Code.FAILED_PRECONDITION,
  /** The operations map to more than one Raft group. */
  SPANS_GROUPS: Code.FAILED_PRECONDITION,
  /** A transaction across groups holds what is asked for, and did not end in time. Nothing was changed: try again. */
  TRANSACTION_PENDING: Code.UNAVAILABLE,
  /** The epoch is not the region's current one, or another server owns it; metadata holds `current_epoch`, `owner_server_id` and, where the owner said one, `owner_address`. */
  FENCED: Code.FAILED_PRECONDITION,
  /** The sender goes by another policy than this arbiter; metadata names both digests. */
  POLICY_MISMATCH: Code.FAILED_PRECONDITION,
  /** The server is not registered, or its registration ran out. */
  SERVER_NOT_REGISTERED: Code.FAILED_PRECONDITION,
  /** The priority differs from the operator's table. */
  PRIORITY_FORGED: Code.PERMISSION_DENIED,
  /** Another live server has that name or id. */
  SERVER_ALREADY_REGISTERED: Code.ALREADY_EXISTS,
  /** Another server's lease on the region runs; metadata names it. */
  LEASE_HELD: Code.FAILED_PRECONDITION,
  /** Another handoff of the region is under way; metadata holds its `handoff_id`. */
  HANDOFF_PENDING: Code.FAILED_PRECONDITION,
  /** The handoff is in another phase than the call is for; metadata holds `phase`, and where it was aborted `handoff_reason`. */
  HANDOFF_PHASE: Code.FAILED_PRECONDITION,
  /** The stored version is not the expected one; metadata holds `current_version`. */
  VERSION_MISMATCH: Code.ABORTED,
  /** The request id was used with other content. */
  REQUEST_ID_REUSED: Code.ALREADY_EXISTS,
  /** What was asked for does not exist. */
  NOT_FOUND: Code.NOT_FOUND,
  /** The group has no leader that a quorum supports. */
  NO_QUORUM: Code.UNAVAILABLE,
  /** This node is on the losing side of a partition, and nothing was done; metadata holds `side_size`, `voters` and where known `view_epoch`. */
  MINORITY_PARTITION: Code.UNAVAILABLE,
  /** This node is not the leader; metadata holds `leader_node_id` and `leader_address`. */
  NOT_LEADER: Code.UNAVAILABLE,
  /** The write may have been committed, or not: ask again with the same id. */
  OUTCOME_UNKNOWN: Code.UNAVAILABLE,
  /** The server does not answer, and the call changes nothing: try again or another server. */
  UNREACHABLE: Code.UNAVAILABLE,
  /** The node or service is going down; try another. */
  SHUTTING_DOWN: Code.UNAVAILABLE,
  /** SQL does not answer. */
  STORE_UNAVAILABLE: Code.UNAVAILABLE,
  /** A stated limit is reached: wait `retry_delay`, then try again. */
  OVERLOADED: Code.RESOURCE_EXHAUSTED,
  /** The caller has, or asks for, more than one may: wait `retry_delay`. Metadata holds `quota` and, of a game server, `server_id`. */
  QUOTA_EXCEEDED: Code.RESOURCE_EXHAUSTED,
  /** What a snapshot reads changed each time that it was looked at; metadata holds `looks`. */
  SNAPSHOT_CONTENDED: Code.ABORTED,
  /** No space is left for the log. */
  LOG_FULL: Code.RESOURCE_EXHAUSTED,
  /** The caller's deadline passed before anything was done. */
  DEADLINE_EXCEEDED: Code.DEADLINE_EXCEEDED,
  /** The caller cancelled before anything was done. */
  CANCELLED: Code.CANCELLED,
  /** The peer speaks no protocol version of ours, or is of another cluster. */
  PEER_REFUSED: Code.FAILED_PRECONDITION,
  /** The region store holds the state of another cluster; metadata holds `stored_cluster_id`. */
  CLUSTER_MISMATCH: Code.FAILED_PRECONDITION,
  /** Leadership did not move in time. */
  TRANSFER_ABORTED: Code.ABORTED,
  /** No member of the cluster has that node id; metadata holds `node_id` and `members`. */
  UNKNOWN_MEMBER: Code.NOT_FOUND,
  /** The node, its data folder or its address belongs to a member already; metadata holds its `node_id`. */
  MEMBER_EXISTS: Code.ALREADY_EXISTS,
  /** A node id stands for one data folder for ever; metadata holds `next_node_id`. */
  MEMBER_ID_USED: Code.ALREADY_EXISTS,
  /** The node was taken out of the cluster and can do nothing for it any more: stop it. */
  MEMBER_REMOVED: Code.FAILED_PRECONDITION,
  /** The cluster has as many nodes as it may; metadata holds `limit`. */
  TOO_MANY_MEMBERS: Code.FAILED_PRECONDITION,
  /** Without that node the cluster would have none. */
  LAST_MEMBER: Code.FAILED_PRECONDITION,
  /** Another change of the members is under way; metadata holds its `change_id`. */
  CHANGE_PENDING: Code.FAILED_PRECONDITION,
  /** The change of the members has ended and cannot be cancelled. */
  CHANGE_DONE: Code.FAILED_PRECONDITION,
  /** The node that the cancelled change would bring back does not answer, and groups have let go of it; metadata holds `change_id`, `node_id` and how many `groups`. */
  MEMBER_GONE: Code.FAILED_PRECONDITION,
  /** The members that would be left and are up could not decide; metadata holds `voters_after` and `silent`. */
  WOULD_LOSE_QUORUM: Code.FAILED_PRECONDITION,
  /** The cluster works at a version that does not know of this; metadata holds `cluster_version` and where known the `node_ids` that hold it back. */
  VERSION_TOO_LOW: Code.FAILED_PRECONDITION,
  /** Another node keeps the spendings of the escrow; metadata holds `node_id` and, where known, `node_address`. */
  ESCROW_ELSEWHERE: Code.FAILED_PRECONDITION,
  /** The escrow is for another game server; metadata holds `spender_server_id`. */
  ESCROW_OF_OTHER_SERVER: Code.PERMISSION_DENIED,
  /** More than the escrow has left; metadata holds `left`. Nothing was spent. */
  ESCROW_EXHAUSTED: Code.FAILED_PRECONDITION,
  /** The escrow is closed, or its node keeps no more spendings; metadata holds `state`: `closing` or `closed`. */
  ESCROW_CLOSED: Code.FAILED_PRECONDITION,
  /** The escrow's time is over by the clock of its node; metadata holds `expires_ms`. */
  ESCROW_EXPIRED: Code.FAILED_PRECONDITION,
  /** Since its start the node has not made sure yet that it knows of everything that happened to the escrow. */
  ESCROW_NOT_READY: Code.UNAVAILABLE,
  /** A defect of StateMesh; the log has more. */
  INTERNAL: Code.INTERNAL,
} as const satisfies Record<string, Code>;

export type Reason = keyof typeof Reasons;
