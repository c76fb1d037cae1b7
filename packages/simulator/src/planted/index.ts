// Bugs that the simulator has to find. Imports nothing that a bug is planted in.
import { AUTHORITY_BUGS } from "./authority-bugs.ts";
import { DISK_BUGS } from "./disk-bugs.ts";
import { ESCROW_BUGS } from "./escrow-bugs.ts";
import { FOOTPRINT_BUGS } from "./footprint-bugs.ts";
import { HEALING_BUGS } from "./healing-bugs.ts";
import { HISTORY_BUGS } from "./history-bugs.ts";
import { FLOW_BUGS, LEDGER_BUGS } from "./ledger-bugs.ts";
import { LOG_BUGS } from "./log-bugs.ts";
import { MEMBER_BUGS } from "./member-bugs.ts";
import { MERGE_BUGS } from "./merge-bugs.ts";
import { MESH_BUGS } from "./mesh-bugs.ts";
import { MOVE_BUGS, SAVE_BUGS } from "./move-bugs.ts";
import type { PlantedBug } from "./planted-bug.ts";
import { RAFT_BUGS } from "./raft-bugs.ts";
import { SNAPSHOT_BUGS } from "./snapshot-bugs.ts";
import { CROWD_BUGS, SUBSCRIPTION_BUGS } from "./subscription-bugs.ts";
import { RESERVATION_BUGS, TRANSACTION_BUGS } from "./transaction-bugs.ts";

export * from "./planted-bug.ts";

export const PLANTED: readonly PlantedBug[] = [...RAFT_BUGS, ...LOG_BUGS, ...MESH_BUGS, ...AUTHORITY_BUGS, ...TRANSACTION_BUGS, ...MEMBER_BUGS, ...LEDGER_BUGS, ...SUBSCRIPTION_BUGS, ...FOOTPRINT_BUGS, ...SNAPSHOT_BUGS, ...FLOW_BUGS, ...HEALING_BUGS, ...DISK_BUGS, ...MERGE_BUGS, ...MOVE_BUGS, ...HISTORY_BUGS, ...CROWD_BUGS, ...ESCROW_BUGS, ...RESERVATION_BUGS, ...SAVE_BUGS];
