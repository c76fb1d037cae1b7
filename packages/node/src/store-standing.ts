// What a new owner loads from the region store has to be final: the store refuses the last owner's writes only once it stands
// at the new epoch.
import { MeshError, type Region } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import type { Timers } from "@statemesh/ports";
import { formatRegion, groupOf } from "@statemesh/world";

/** How often it is looked at, milliseconds. */
const LOOK_MS = 10;
/** What is left of the call's time for the answer. */
const ANSWER_MS = 50;

/** What is asked of the node. */
export interface StandingNode {
  readonly mesh: MeshNode;
  readonly timers: Timers;
}

/**
 * Resolves once the region store holds what the region's group had at the fence of the server's epoch. The fence is committed.
 * Rejects with STORE_UNAVAILABLE where that takes longer than the call may.
 */
export async function storeStands({ mesh, timers }: StandingNode, region: Region, epoch: number, serverId: number, deadlineMs: number): Promise<void> {
  if (!mesh.options.materialize) return;
  const groupId = groupOf(region, mesh.options.groups);
  const now = (): number => mesh.host.clock.monotonicMs();
  let index: number | undefined;
  for (;;) {
    // This node may be behind the one that put the fence in.
    if (index === undefined && mesh.authority.isFenced({ region, epoch, serverId })) index = mesh.group(groupId).state.fenceIndex(region);
    if (index !== undefined && (mesh.materializedIndex(groupId) >= index || (await watermarkOf(mesh, groupId)) >= index)) return;
    if (now() + LOOK_MS + ANSWER_MS >= deadlineMs) {
      throw new MeshError("STORE_UNAVAILABLE", `the region store does not stand at epoch ${epoch} of ${formatRegion(region)} yet: what is loaded from it now may be written once more by the last owner`, {
        metadata: { region: formatRegion(region), epoch: String(epoch) },
        retryDelayMs: 100,
      });
    }
    await new Promise<void>((resolve) => timers.after(LOOK_MS, resolve));
  }
}

/** -1: the store did not say. */
async function watermarkOf(mesh: MeshNode, groupId: number): Promise<number> {
  return new Promise((resolve) => mesh.host.watermarks((watermarks) => resolve(watermarks === undefined ? -1 : (watermarks.get(groupId) ?? 0))));
}
