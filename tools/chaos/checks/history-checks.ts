/** What a history alone says: also of a run of yesterday, from its file. */
import type { Check } from "./check.ts";
import type { History } from "./history.ts";
import { linearizable, strictlySerializable } from "./linearizable.ts";
import { keptEnds, lostWithDisks } from "./kept.ts";
import { epochsGrow, oneHolder, onePickup, readsFollowLog, realTimeOrder, subscribersFollowLog } from "./log-order.ts";

export function checkHistory(history: History): Check[] {
  const { calls, reads, grants, shown, reports } = history;
  const operations = calls.flatMap((call) => call.operations);
  const counted = (action: string): number => operations.filter((operation) => operation.action === action && operation.accepted === true).length;
  return [
    { name: "registers, claims and items are linearizable, by what callers saw", ...linearizable(history) },
    { name: "writes, transactions and reads of several registers are strictly serializable", ...strictlySerializable(history) },
    { name: "the log's order is the order in which callers were answered", detail: `${calls.length} calls, ${reads.length} reads`, anomalies: realTimeOrder(history) },
    { name: "every read finds what the log holds at its position", detail: `${reads.length} reads, ${counted("write")} writes`, anomalies: readsFollowLog(history) },
    { name: "a claim has one holder at a time", detail: `${counted("claim")} claims, ${counted("release")} given up`, anomalies: oneHolder(history) },
    { name: "an item goes to one player", detail: `${counted("spawn")} items, ${counted("pickup")} picked up`, anomalies: onePickup(history) },
    { name: "epochs only grow, and no write of an old one is taken", detail: `${grants.length} grants`, anomalies: epochsGrow(history) },
    { name: "subscribers are shown every write in order, none twice", detail: `${shown.filter(({ by }) => by === "change").length} changes`, anomalies: subscribersFollowLog(history) },
    {
      name: "what was answered TENTATIVE was merged or refused with a reason, and a heal report lists it",
      detail: `${calls.filter(({ keptBy }) => keptBy.length > 0).length} kept, ${reports.length} reports of ${reports.reduce((sum, each) => sum + each.operations.length, 0)}, ${lostWithDisks(history)} lost with a disk`,
      anomalies: keptEnds(history),
    },
  ];
}
