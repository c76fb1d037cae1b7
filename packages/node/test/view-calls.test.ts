import { PartitionEvent, Side, type ViewState } from "@statemesh/contract";
import { GroupState } from "@statemesh/replica";
import { groupOf } from "@statemesh/world";
import { expect, it, vi } from "vitest";
import { pictureOf, type ViewingNode, watchView } from "../src/view-calls.ts";

const GROUPS = 4;
const STATE: ViewState = { nodeId: 1, view: undefined, side: Side.WHOLE, sinceMs: 0, members: [1], links: [], parts: [], suspected: [], lateness: 0, unheardServerIds: [] };

/** Server 7 owns eight regions of several groups, server 9 one, server 11 more than a list holds. */
function setting(state: Partial<ViewState>, cutOffGroup: number) {
  const { directory } = new GroupState({ groupId: 0, decisionWindow: 8, touchCapacity: 8 });
  const own = Array.from({ length: 8 }, (_, at) => ({ x: at * 8, y: 0, z: 0 }));
  const take = (serverId: number, region: { x: number; y: number; z: number }) =>
    directory.tables.leases.put({ region, epoch: 1, serverId, durationMs: 1_000, backups: [], players: 0 });
  for (const region of own) take(7, region);
  take(9, { x: -1, y: 0, z: 0 });
  for (let z = 1; z <= 1_030; z += 1) take(11, { x: 0, y: 0, z });
  const mesh: ViewingNode = {
    views: { state: () => ({ ...STATE, ...state }) },
    directory: { directory },
    cutOff: { partition: { losingSide: (groupId) => (groupId === cutOffGroup ? {} : undefined) } },
    options: { groups: GROUPS },
  };
  const all = vi.spyOn(directory, "leases");
  return { own, all, told: (serverId: number) => watchView(mesh, pictureOf(mesh), serverId, undefined) };
}

it("tells a shard which of its regions cannot be written, and everybody whose owner is not heard, without a pass over all leases", () => {
  const cutOff = groupOf({ x: 0, y: 0, z: 0 }, GROUPS);
  const { own, all, told } = setting({ unheardServerIds: [9] }, cutOff);
  const answer = told(7);
  expect(answer.event).toBe(PartitionEvent.STATE);
  expect(answer.ownRegions).toEqual(own.filter((region) => groupOf(region, GROUPS) === cutOff));
  expect(answer.ownRegions.length).toBeLessThan(own.length);
  expect(answer.unheardRegions).toEqual([{ x: -1, y: 0, z: 0 }]);
  expect(answer.moreRegions).toBe(false);
  expect(told(0).ownRegions).toEqual([]);
  expect(all).not.toHaveBeenCalled();
});

it("tells all of a shard's regions on the losing side, and says where there are more than it lists", () => {
  const { own, told } = setting({ side: Side.LOSING, unheardServerIds: [9, 11] }, 0);
  const answer = told(7);
  expect(answer.ownRegions).toEqual(own);
  expect(answer.unheardRegions).toHaveLength(1_024);
  expect(answer.moreRegions).toBe(true);
  expect(told(11).ownRegions).toHaveLength(1_024);
});
