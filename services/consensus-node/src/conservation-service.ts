// Whether what was minted less what was burned is what is held: proven once, or told all the time.
import { MeshError, type VerifyConservationRequest, type VerifyConservationResponse, type WatchConservationRequest, type WatchConservationResponse } from "@statemesh/contract";
import { type Astray, astrayIn, conservationOf, countedItems, flowsOf, type FlowScope, type MeshNode } from "@statemesh/mesh";
import type { CallContext, ResponseStream } from "@statemesh/service";
import { checkInteger, checkList, checkName, checkRegion, ID_BYTES_MAX } from "@statemesh/world";
import type { BulkCalls } from "./bulk-calls.ts";
import { deadlineOf } from "./deadlines.ts";

export interface ConservationNode {
  readonly mesh: MeshNode;
  readonly bulk: BulkCalls;
  readonly defaultDeadlineMs: number;
}

/**
 * How often what is on its way is looked at again: this node may have applied the end of a transaction in one group before
 * its beginning in another. What is missing for good is missing every time.
 */
const VERIFY_TRIES = 20;
/** Groups that are asked for their position at a time. */
const BARRIERS_AT_ONCE = 256;
const WATCHERS_MAX = 32;
const INTERVAL_MIN_MS = 100;
const INTERVAL_MAX_MS = 60_000;
const INTERVAL_DEFAULT_MS = 1_000;
/** Kinds in one message, at most. */
const KINDS_SHOWN = 256;
/** Kinds that a reader may name. */
const KINDS_NAMED = 64;
/** How soon a watch sees that its reader is gone. */
const LOOK_MS = 250;

/**
 * Every group is conserved by itself, at any index; what is on its way between them is accounted for. Accounts are added up a group at a time,
 * with other work in between.
 */
export async function verify({ mesh, bulk, defaultDeadlineMs }: ConservationNode, { scope }: VerifyConservationRequest, context: CallContext): Promise<VerifyConservationResponse> {
  const wanted = scopeOf(scope);
  const deadlineMs = deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  for (let tries = 1; ; tries++) {
    for (let first = 0; first < mesh.groups.length; first += BARRIERS_AT_ONCE) {
      const groups = mesh.groups.slice(first, first + BARRIERS_AT_ONCE);
      await Promise.all(groups.map(async ({ groupId }) => barrier(mesh, groupId, deadlineMs)));
    }
    await bulk.nextTurn();
    if (wanted !== undefined) {
      const states = mesh.groups.map(({ state }) => state);
      const flows = flowsOf(states, wanted);
      return { conserved: flows.every(({ conserved }) => conserved), items: [], positions: states.map((state) => state.position()), flows };
    }
    const accounts: Astray[] = [];
    for (const { state } of mesh.groups) {
      accounts.push(astrayIn(state));
      await bulk.nextTurn();
    }
    const { items, positions, addsUp, isExplained } = conservationOf(mesh.groups.map(({ state }) => state), accounts);
    if (!addsUp || isExplained || tries === VERIFY_TRIES) return { conserved: addsUp && isExplained, items, positions, flows: [] };
  }
}

function scopeOf(scope: VerifyConservationRequest["scope"]): FlowScope | undefined {
  switch (scope?.$case) {
    case undefined:
      return undefined;
    case "region":
      checkRegion(scope.value, "region");
      return { region: scope.value };
    case "playerId":
      checkName(scope.value, 1, ID_BYTES_MAX, "", "player_id");
      return { playerId: scope.value };
    case "containerId":
      checkName(scope.value, 1, ID_BYTES_MAX, "", "container_id");
      return { containerId: scope.value };
  }
}

async function barrier(mesh: MeshNode, groupId: number, deadlineMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    mesh.barrier(groupId, deadlineMs, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** Streams of one node that tell the counts. */
export class ConservationWatch {
  readonly #mesh: MeshNode;
  #open = 0;

  constructor(mesh: MeshNode) {
    this.#mesh = mesh;
  }

  /** Tells until the reader goes. Throws OVERLOADED beyond 32 streams. */
  async watch({ intervalMs, itemKinds }: WatchConservationRequest, responses: ResponseStream<WatchConservationResponse>, context: CallContext): Promise<void> {
    if (intervalMs !== 0) checkInteger(intervalMs, INTERVAL_MIN_MS, INTERVAL_MAX_MS, "", "interval_ms");
    checkList(itemKinds, KINDS_NAMED, "", "item_kinds");
    itemKinds.forEach((kind, i) => checkName(kind, 1, ID_BYTES_MAX, "", `item_kinds[${i}]`));
    if (this.#open >= WATCHERS_MAX) throw new MeshError("OVERLOADED", `${WATCHERS_MAX} streams watch conservation already`, { retryDelayMs: 5_000 });
    this.#open++;
    context.onShutdown(() => responses.end());
    try {
      const wanted = itemKinds.length === 0 ? undefined : new Set(itemKinds);
      let waitMs = 0;
      while (!responses.over) {
        if (waitMs <= 0 && responses.writable) {
          responses.write(countsNow(this.#mesh, wanted));
          waitMs = intervalMs === 0 ? INTERVAL_DEFAULT_MS : intervalMs;
        }
        const stepMs = Math.min(LOOK_MS, Math.max(waitMs, INTERVAL_MIN_MS));
        await new Promise((resolve) => setTimeout(resolve, stepMs));
        waitMs -= stepMs;
      }
    } finally {
      this.#open--;
    }
  }
}

function countsNow({ groups }: MeshNode, wanted: ReadonlySet<string> | undefined): WatchConservationResponse {
  const states = groups.map(({ state }) => state);
  const all = [...countedItems(states).values()];
  const asked = wanted === undefined ? all : all.filter(({ itemKind }) => wanted.has(itemKind));
  asked.sort((a, b) => Number(a.conserved) - Number(b.conserved) || b.minted - a.minted || (a.itemKind < b.itemKind ? -1 : 1));
  return {
    conserved: all.every(({ conserved }) => conserved),
    items: asked.slice(0, KINDS_SHOWN),
    kindsLeftOff: Math.max(0, asked.length - KINDS_SHOWN),
    positions: states.map((state) => state.position()),
  };
}
