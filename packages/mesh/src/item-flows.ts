// What a region, a player or a container holds, and how it came to it, over the groups of one node as they stand at one moment.
import { type ItemFlow as FlowMessage, MeshError, type Region } from "@statemesh/contract";
import { addFlows, addModulo, containerAccount, escrowAccount, type GroupState, heldBy, type ItemFlow, NO_FLOW, playerAccount, treeOf } from "@statemesh/replica";
import { formatRegion, groupOf, sameRegion } from "@statemesh/world";
import { underWay } from "./conservation.ts";

/** Whose items. */
export type FlowScope = { readonly region: Region } | { readonly playerId: string } | { readonly containerId: string };

interface Sum {
  flow: ItemFlow;
  held: number;
  arriving: number;
  leaving: number;
  isGood: boolean;
}

/** Rows of an answer, one an item kind and group, at most: about a megabyte. */
export const FLOWS_MAX = 4_096;

/** @param states by group, the directory's first. Throws MESSAGE_TOO_LARGE where there are more rows than an answer holds. */
export function flowsOf(states: readonly GroupState[], scope: FlowScope): FlowMessage[] {
  const messages: FlowMessage[] = [];
  for (const state of states) {
    const { groupId, ledger } = state;
    const sums = new Map<string, Sum>();
    if ("region" in scope) {
      if (groupId !== groupOf(scope.region, states.length - 1)) continue;
      addGround(sums, state, scope.region);
    }
    for (const account of accountsOf(state, scope)) {
      for (const { itemKind, quantity, flow = { ...NO_FLOW, opening: quantity } } of ledger.rowsOf(account).values()) add(sums, itemKind, quantity, flow, heldBy(flow) === quantity);
      for (const { itemKind, arriving, leaving } of underWay(states, state, account)) {
        const sum = sumOf(sums, itemKind);
        sum.arriving += arriving;
        sum.leaving += leaving;
      }
    }
    for (const [itemKind, { flow, held, arriving, leaving, isGood }] of sums) messages.push({ itemKind, groupId, sinceIndex: ledger.flowsSince, ...flow, held, arriving, leaving, conserved: isGood });
    if (messages.length > FLOWS_MAX) throw new MeshError("MESSAGE_TOO_LARGE", `more than ${FLOWS_MAX} item kinds, counted by group: ask for players and containers of it instead`, { metadata: { limit: String(FLOWS_MAX) } });
  }
  return messages.sort((a, b) => (a.itemKind === b.itemKind ? a.groupId - b.groupId : a.itemKind < b.itemKind ? -1 : 1));
}

function* accountsOf(state: GroupState, scope: FlowScope): Generator<string> {
  if ("playerId" in scope) {
    yield playerAccount(scope.playerId);
    for (const { playerId, escrowId } of state.escrows.openRows()) if (playerId === scope.playerId) yield escrowAccount(escrowId);
    return;
  }
  const { entities } = state;
  const outer = "containerId" in scope ? [entities.get("container", scope.containerId)] : [...(entities.inRegion(scope.region)?.values() ?? [])].filter(({ kind, bounds }) => kind === "container" && bounds !== undefined);
  // One that is not here may be on its way.
  if ("containerId" in scope && outer[0] === undefined) yield containerAccount(scope.containerId);
  for (const container of outer) if (container !== undefined) for (const { entityId } of treeOf(entities, container)) yield containerAccount(entityId);
}

/** What the region's count says, and what the items that lie there are, one by one. */
function addGround(sums: Map<string, Sum>, { entities, ledger }: GroupState, region: Region): void {
  const found = new Map<string, number>();
  for (const { kind, entityId, label, quantity, region: at } of entities.inRegion(region)?.values() ?? []) {
    if (kind !== "item" || at === undefined || !sameRegion(at, region)) continue;
    found.set(label, addModulo(found.get(label) ?? 0, quantity));
    if (ledger.balance(`ground:${entityId}`, label) !== quantity) sumOf(sums, label).isGood = false;
  }
  const counted = ledger.lyingIn(formatRegion(region));
  for (const itemKind of new Set([...found.keys(), ...counted.keys()])) {
    const quantity = found.get(itemKind) ?? 0;
    const flow = counted.get(itemKind)?.flow ?? { ...NO_FLOW, opening: ledger.flowsSince === 0 ? quantity : 0 };
    add(sums, itemKind, quantity, flow, heldBy(flow) === quantity);
  }
}

function add(sums: Map<string, Sum>, itemKind: string, quantity: number, flow: ItemFlow, isGood: boolean): void {
  const sum = sumOf(sums, itemKind);
  sum.flow = addFlows(sum.flow, flow);
  sum.held = addModulo(sum.held, quantity);
  if (!isGood) sum.isGood = false;
}

function sumOf(sums: Map<string, Sum>, itemKind: string): Sum {
  let sum = sums.get(itemKind);
  if (sum === undefined) sums.set(itemKind, (sum = { flow: NO_FLOW, held: 0, arriving: 0, leaving: 0, isGood: true }));
  return sum;
}
