import { type ListContainersResponse, MeshError, Outcome, type Operation, type Region } from "@statemesh/contract";
import { listContainers } from "@statemesh/mesh";
import { describe, expect, it } from "vitest";
import { pageChecksum } from "../src/page-token.ts";
import { createContainer, destroyContainer, moveContainer } from "./operations.ts";
import { ready } from "./transacting.ts";
import { isDecision, type VirtualCluster } from "./virtual-cluster.ts";

let serial = 0;

interface Asked {
  readonly playerId?: string;
  readonly region?: Region;
  readonly pageSize?: number;
  readonly pageToken?: string;
  /** The group that is looked into; undefined: all. */
  readonly only?: number;
  readonly nodeId?: number;
}

class World {
  readonly cluster: VirtualCluster = ready({ groups: 2 });
  readonly one: Region = this.cluster.regionIn(1);
  readonly two: Region = this.cluster.regionIn(2);

  constructor() {
    if (!this.cluster.runUntil(() => this.cluster.members.every((id) => this.cluster.node(id).membership.version >= 4))) throw new Error("the cluster does not come to version 4");
  }

  do(make: (id: string) => Operation): void {
    const id = `o-${++serial}`;
    const answer = this.cluster.execute(1, [make(id)]).get(id);
    if (!isDecision(answer) || answer.outcome !== Outcome.ACCEPTED) throw new Error(`refused: ${answer?.reason}`);
  }

  /** Begins to list; the answer once it is there. */
  begin({ playerId = "ada", pageSize = 0, pageToken = "", only, nodeId = 1 }: Asked = {}): () => ListContainersResponse | MeshError | undefined {
    const node = this.cluster.node(nodeId);
    let answer: ListContainersResponse | MeshError | undefined;
    const port = {
      groups: 2,
      isGone: () => false,
      state: (id: number) => node.group(id).state,
      barrier: (id: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.barrier(id, untilMs, done),
      whenApplied: (id: number, index: number, untilMs: number, done: (error: MeshError | undefined) => void) => node.group(id).whenApplied(index, untilMs, done),
    };
    listContainers(port, { playerId, region: undefined, pageSize, pageToken }, only, this.cluster.nowMs + 5_000, (response, error) => (answer = response ?? error));
    node.dirty();
    return () => answer;
  }

  list(asked: Asked = {}): ListContainersResponse {
    const answer = this.begin(asked);
    this.cluster.runUntil(() => answer() !== undefined);
    const found = answer();
    if (found === undefined || found instanceof MeshError) throw found ?? new Error("no answer");
    return found;
  }

  ids(asked: Asked = {}): string[] {
    return this.list(asked).containers.map(({ entityId }) => entityId);
  }
}

describe("the containers of a player", () => {
  it("are those that the player holds, in all groups or in one, and not what is in them", () => {
    const world = new World();
    const { one, two } = world;
    world.do((id) => createContainer(id, 1, one, "bag", "p:ada"));
    world.do((id) => createContainer(id, 1, one, "purse", "c:bag"));
    world.do((id) => createContainer(id, 1, one, "chest", "ground"));
    world.do((id) => createContainer(id, 1, one, "bobs", "p:bob"));
    world.do((id) => createContainer(id, 1, two, "wagon", "p:ada"));
    for (const nodeId of [1, 2, 3]) expect(world.ids({ nodeId })).toEqual(["bag", "wagon"]);
    expect([world.ids({ only: 1 }), world.ids({ only: 2 }), world.ids({ playerId: "nobody" })]).toEqual([["bag"], ["wagon"], []]);
    expect(world.list().positions.map(({ groupId }) => groupId)).toEqual([1, 2]);
  });

  it("come and go with every move, and with their end", () => {
    const world = new World();
    const { one, two } = world;
    world.do((id) => createContainer(id, 1, one, "bag", "p:ada"));
    world.do((id) => moveContainer(id, 1, one, "bag", "p:ada", "p:bob"));
    expect([world.ids(), world.ids({ playerId: "bob" })]).toEqual([[], ["bag"]]);
    world.do((id) => createContainer(id, 1, one, "chest", "p:ada"));
    world.do((id) => moveContainer(id, 1, one, "bag", "p:bob", "c:chest"));
    expect([world.ids(), world.ids({ playerId: "bob" })]).toEqual([["chest"], []]);
    world.do((id) => moveContainer(id, 1, one, "bag", "c:chest", "ground"));
    const contents = [{ containerId: "chest", inContainerId: "", kind: "chest", items: [] }];
    world.do((id) => moveContainer(id, 1, one, "chest", "p:ada", "p:ada", contents, two));
    expect([world.ids({ only: 1 }), world.ids({ only: 2 })]).toEqual([[], ["chest"]]);
    world.do((id) => destroyContainer(id, 1, two, "chest", "p:ada"));
    expect(world.ids()).toEqual([]);
  });

  it("come in pages, each once, whatever their ids hold and wherever a group ends", () => {
    const world = new World();
    const ids = ["a.b", "a", "1.", "B", "\u{1f392} bag", "z z"];
    for (const [at, containerId] of ids.entries()) world.do((id) => createContainer(id, 1, at % 2 === 0 ? world.one : world.two, containerId, "p:ada"));
    for (const pageSize of [1, 2, 3, 4, 6]) {
      const seen: string[] = [];
      let pages = 0;
      for (let pageToken = "", more = true; more; more = pageToken !== "") {
        const { containers, nextPageToken } = world.list({ pageSize, pageToken, nodeId: (pages++ % 3) + 1 });
        expect(containers.length).toBeLessThanOrEqual(pageSize);
        seen.push(...containers.map(({ entityId }) => entityId));
        pageToken = nextPageToken;
      }
      expect([pageSize, [...seen].sort()]).toEqual([pageSize, [...ids].sort()]);
    }
  });

  it("have page tokens that are for this list alone", () => {
    const world = new World();
    for (const containerId of ["a", "b"]) world.do((id) => createContainer(id, 1, world.one, containerId, "p:ada"));
    const { nextPageToken } = world.list({ pageSize: 1 });
    expect(world.ids({ pageSize: 1, pageToken: nextPageToken })).toEqual(["b"]);
    for (const asked of [{ playerId: "bob" }, { only: 1 }, { pageToken: `${nextPageToken}x` }, { pageToken: "1.1.1" }]) {
      expect(() => world.begin({ pageToken: nextPageToken, ...asked })).toThrow(expect.objectContaining({ reason: "INVALID_PAGE_TOKEN" }) as Error);
    }
  });

  it("are not looked for in groups that there are not, whoever makes a token with a right checksum", () => {
    const world = new World();
    const forged = (context: string, groupId: number): string => `${pageChecksum(`containers of ada in ${context}`, `${groupId}.`)}.${groupId}.`;
    expect(world.ids({ pageToken: forged("all", 2) })).toEqual([]);
    for (const groupId of [0, 3, 999_999_999]) expect(() => world.begin({ pageToken: forged("all", groupId) })).toThrow(expect.objectContaining({ reason: "INVALID_PAGE_TOKEN" }) as Error);
    for (const groupId of [0, 2]) expect(() => world.begin({ pageToken: forged("1", groupId), only: 1 })).toThrow(expect.objectContaining({ reason: "INVALID_PAGE_TOKEN" }) as Error);
  });

  it("leave a node up that is asked to wait for a group that there is not", () => {
    const { cluster } = new World();
    expect(() => cluster.node(1).barrier(3, cluster.nowMs + 1_000, () => undefined)).toThrow(expect.objectContaining({ reason: "INVALID_FIELD" }) as Error);
  });

  it("are told once it is decided where they are, while one goes from group to group", () => {
    const world = new World();
    const { cluster, one, two } = world;
    world.do((id) => createContainer(id, 1, one, "bag", "p:ada"));
    const { state } = cluster.node(cluster.leaderOf(1)).group(1);
    const contents = [{ containerId: "bag", inContainerId: "", kind: "chest", items: [] }];
    cluster.submit(1, [moveContainer("off", 1, one, "bag", "p:ada", "p:ada", contents, two)]);
    expect(cluster.runUntil(() => state.transactions.preparedCount === 1)).toBe(true);
    const answer = world.begin({ nodeId: cluster.leaderOf(1) });
    cluster.runUntil(() => answer() !== undefined);
    expect(answer()).toMatchObject({ containers: [{ entityId: "bag" }] });
    expect(state.transactions.preparedCount).toBe(0);
  });
});
