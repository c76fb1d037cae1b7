import { AuthorityEvent, AuthorityEvent_Kind as Kind, type RegionAuthority, type WatchRequest, type WatchResponse } from "@statemesh/contract";
import { Command, type DirectoryCommand } from "@statemesh/contract/log";
import { commandOf, GroupState } from "@statemesh/replica";
import { formatRegion } from "@statemesh/world";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AuthorityWatch } from "../src/authority/authority-watch.ts";
import { ALL_OF_ENTRY, EventRing } from "../src/authority/event-ring.ts";

type Body = NonNullable<DirectoryCommand["command"]>;
const region = (x: number) => ({ x, y: 0, z: 0 });

/** A node's directory with its watch. */
function node() {
  let state = new GroupState({ groupId: 0, decisionWindow: 8, touchCapacity: 8 });
  let nowMs = 0;
  const readable = new Set<number>();
  const watch = new AuthorityWatch({ clusterId: "c", state: () => state, monotonicMs: () => nowMs, remainingMs: () => 1_000, onReadable: (id) => readable.add(id) });
  return {
    watch,
    readable,
    get state() {
      return state;
    },
    apply(command: Body) {
      const { directory } = state.apply({ term: 1, index: state.appliedIndex + 1, kind: 0, data: Command.encode(commandOf({ $case: "directory", value: { command, nowMs: 0 } })).finish() });
      if (directory !== undefined) watch.changed(directory);
    },
    later(ms: number) {
      nowMs += ms;
      watch.tick();
    },
    /** A leader's snapshot replaces the state. */
    replacedBy(other: GroupState) {
      state = other;
      watch.replaced();
    },
  };
}

type Node = ReturnType<typeof node>;

/** What a reader knows, as a client keeps it. */
class Reader {
  readonly owners = new Map<string, string>();
  readonly kinds: number[] = [];
  token = "";
  position = 0;
  snapshots = 0;
  #id = 0;
  #node: Node | undefined;

  open(at: Node, request: Partial<WatchRequest> = {}): this {
    this.#node?.watch.close(this.#id);
    this.#node = at;
    this.#id = at.watch.open({ regions: [], serverId: 0, neighbours: false, resumeToken: this.token, ...request });
    return this;
  }

  read(messages = Number.POSITIVE_INFINITY): WatchResponse[] {
    const got: WatchResponse[] = [];
    while (got.length < messages) {
      const response = this.#node?.watch.next(this.#id);
      if (response === undefined) break;
      got.push(response);
      this.#take(response);
    }
    return got;
  }

  #take({ event, resumeToken, position }: WatchResponse): void {
    if (resumeToken !== "") this.token = resumeToken;
    expect(position?.index, "no reader is taken back").toBeGreaterThanOrEqual(event?.$case === "snapshot" ? 0 : this.position);
    this.position = position?.index ?? 0;
    if (event?.$case === "snapshot") {
      if (event.value.first) {
        this.snapshots++;
        this.owners.clear();
      }
      for (const authority of event.value.authorities) this.#set(authority);
      return;
    }
    for (const { kind, authority } of event?.value.events ?? []) {
      this.kinds.push(kind);
      if (authority !== undefined) this.#set(authority);
    }
  }

  #set({ regionText, owner, epoch }: RegionAuthority): void {
    if (owner === undefined) this.owners.delete(regionText);
    else this.owners.set(regionText, `${owner.serverId}@${epoch}`);
  }
}

function ownersOf({ directory }: GroupState): Map<string, string> {
  return new Map([...directory.leases()].filter(({ serverId }) => serverId !== 0).map((row) => [formatRegion(row.region), `${row.serverId}@${row.epoch}`]));
}

const register = (serverId: number): Body => ({ $case: "register", value: { server: { serverId, name: `s${serverId}`, address: "", priority: 0, incarnation: 1, maxRegions: 9 }, ttlMs: 1_000 } });
const acquire = (serverId: number, x: number): Body => ({ $case: "acquire", value: { serverId, region: region(x), durationMs: 3_000 } });
const release = (serverId: number, x: number, epoch: number): Body => ({ $case: "release", value: { serverId, region: region(x), epoch } });
const expire = (x: number, epoch: number): Body => ({ $case: "expire", value: { leases: [{ region: region(x), epoch, players: 0 }], servers: [], failover: true, silentServerIds: [], handoffIds: [] } });

describe("watching the directory", () => {
  it("shows how things stand, then every change, wherever the reader stops, resumes and however nodes lag", () => {
    const step = fc.record({ kind: fc.constantFrom("acquire", "release", "expire", "backups"), server: fc.integer({ min: 1, max: 4 }), x: fc.integer({ min: 0, max: 5 }) });
    const action = fc.oneof(fc.record({ do: fc.constant("write" as const), step }), fc.record({ do: fc.constant("read" as const), messages: fc.integer({ min: 1, max: 3 }) }), fc.record({ do: fc.constant("switch" as const) }), fc.record({ do: fc.constant("replace" as const) }));
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const nodes = [node(), node()] as const;
        const log: Body[] = [];
        const catchUp = (each: Node): void => {
          while (each.state.appliedIndex < log.length) each.apply(log[each.state.appliedIndex] as Body);
        };
        for (const serverId of [1, 2, 3, 4]) log.push(register(serverId));
        catchUp(nodes[0]);
        let at = 0;
        const reader = new Reader().open(nodes[0]);
        for (const each of actions) {
          if (each.do === "write") {
            const { server, x, kind } = each.step;
            const row = nodes[0].state.directory.lease(region(x));
            if (kind === "acquire") log.push(acquire(server, x));
            else if (kind === "release") log.push(release(row?.serverId ?? server, x, row?.epoch ?? 1));
            else if (kind === "expire") log.push(expire(x, row?.epoch ?? 1));
            else log.push({ $case: "backups", value: { regions: [region(x)] } });
            catchUp(nodes[0]);
          } else if (each.do === "read") reader.read(each.messages);
          else if (each.do === "switch") {
            at = 1 - at;
            reader.open(nodes[at as 0 | 1]);
          } else {
            const other = node();
            for (const body of log) other.apply(body);
            nodes[1].replacedBy(other.state);
          }
        }
        for (const each of nodes) catchUp(each);
        reader.read();
        expect(reader.owners).toEqual(ownersOf(nodes[0].state));
      }),
      { numRuns: 300 },
    );
  });

  it("continues at another node after the last message, without a second snapshot", () => {
    const [one, two] = [node(), node()];
    for (const body of [register(1), acquire(1, 0)]) for (const each of [one, two]) each.apply(body);
    const reader = new Reader().open(one);
    reader.read();
    for (const each of [one, two]) each.apply(acquire(1, 1));
    reader.open(two).read();
    expect(reader.snapshots).toBe(1);
    expect(reader.kinds).toEqual([Kind.GRANTED]);
    expect(reader.owners.size).toBe(2);
  });

  it("says nothing on a node that is behind the token until it stands there", () => {
    const [one, behind] = [node(), node()];
    const log = [register(1), acquire(1, 0), release(1, 0, 1), acquire(1, 0)];
    for (const body of log) one.apply(body);
    const reader = new Reader().open(one);
    reader.read();
    for (const body of log.slice(0, 2)) behind.apply(body);
    reader.open(behind);
    expect(reader.read()).toEqual([]);
    for (const body of log.slice(2)) behind.apply(body);
    behind.apply(release(1, 0, 2));
    reader.read();
    expect(reader.kinds).toEqual([Kind.RELEASED]);
    expect(reader.owners.size).toBe(0);
  });

  it("tells a server what concerns it, and with neighbours who is beside it", () => {
    const at = node();
    for (const serverId of [1, 2, 3, 4]) at.apply(register(serverId));
    at.apply(acquire(1, 0));
    const own = new Reader().open(at, { serverId: 1 });
    const beside = new Reader().open(at, { serverId: 1, neighbours: true });
    const some = new Reader().open(at, { regions: [region(5)] });
    for (const reader of [own, beside, some]) reader.read();
    at.apply(acquire(2, 1));
    at.apply(acquire(3, 2));
    at.apply(acquire(4, 5));
    at.apply({ $case: "backups", value: { regions: [region(2)] } });
    for (const reader of [own, beside, some]) reader.read();
    expect(own.kinds).toEqual(at.state.directory.lease(region(2))?.backups.includes(1) === true ? [Kind.BACKUPS_CHANGED] : []);
    expect([...beside.owners.keys()]).toContain("region_1_0_0");
    expect([...beside.owners.keys()]).not.toContain("region_5_0_0");
    expect([...some.owners.keys()]).toEqual(["region_5_0_0"]);
  });

  it("tells a server who is beside a region that it gets later, or gets again", () => {
    const at = node();
    for (const body of [register(1), register(2), acquire(2, 1)]) at.apply(body);
    const reader = new Reader().open(at, { serverId: 1, neighbours: true });
    reader.read();
    expect(reader.owners.size).toBe(0);
    at.apply(acquire(1, 0));
    reader.read();
    expect(reader.kinds).toEqual([Kind.GRANTED, Kind.NEIGHBOUR]);
    expect(reader.owners).toEqual(ownersOf(at.state));
    for (const body of [release(1, 0, 1), release(2, 1, 1), acquire(1, 0)]) at.apply(body);
    reader.read();
    expect(reader.owners).toEqual(ownersOf(at.state));
  });

  it("never leaves a server with a wrong owner beside it, whenever it reads", () => {
    const step = fc.record({ acquires: fc.boolean(), server: fc.integer({ min: 1, max: 3 }), x: fc.integer({ min: 0, max: 5 }), reads: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const at = node();
        for (const serverId of [1, 2, 3]) at.apply(register(serverId));
        const reader = new Reader().open(at, { serverId: 1, neighbours: true });
        for (const { acquires, server, x, reads } of [...steps, { acquires: true, server: 3, x: 9, reads: true }]) {
          const row = at.state.directory.lease(region(x));
          at.apply(acquires ? acquire(server, x) : release(row?.serverId ?? server, x, row?.epoch ?? 1));
          if (!reads) continue;
          reader.read();
          const owners = ownersOf(at.state);
          const mine = [...at.state.directory.tables.leases.ownedBy(1)].map((each) => each.region.x);
          for (const near of new Set(mine.flatMap((each) => [each - 1, each, each + 1]))) {
            const text = formatRegion(region(near));
            expect(reader.owners.get(text), text).toBe(owners.get(text));
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it("gives a reader a sign of life where nothing concerns it, once a second at most", () => {
    const at = node();
    at.apply(register(1));
    const reader = new Reader().open(at, { regions: [region(9)] });
    reader.read();
    at.apply(acquire(1, 0));
    expect(reader.read()).toEqual([]);
    at.later(1_000);
    expect(reader.read()).toMatchObject([{ event: { $case: "changes", value: { events: [] } }, position: { index: 2 } }]);
    at.later(1_000);
    expect(reader.read()).toEqual([]);
  });

  it("refuses tokens that are damaged or of another cluster, and more readers than its limit", () => {
    const at = node();
    const reader = new Reader().open(at);
    reader.read();
    const other = new AuthorityWatch({ clusterId: "other", state: () => at.state, monotonicMs: () => 0, remainingMs: () => 0, onReadable: () => undefined });
    const request = { regions: [], serverId: 0, neighbours: false, resumeToken: reader.token };
    expect(() => other.open(request)).toThrow("of another cluster");
    expect(() => at.watch.open({ ...request, resumeToken: reader.token.replace(/^(.{9})(.)/, (_, head: string, one: string) => head + (one === "A" ? "B" : "A")) })).toThrow("damaged");
    expect(() => at.watch.open({ ...request, resumeToken: "nonsense" })).toThrow("not a token");
    expect(() => {
      for (let i = 0; i < 2_000; i++) at.watch.open({ ...request, resumeToken: "" });
    }).toThrow(/1024/);
  });
});

describe("the ring of changes", () => {
  it("gives what follows a place as long as it keeps it, and says where it does not", () => {
    const ring = new EventRing(4, 10);
    for (let index = 11; index <= 30; index++) for (const ordinal of [0, 1]) ring.push({ index, ordinal, event: AuthorityEvent.fromPartial({ previousServerId: index * 10 + ordinal }) });
    expect(ring.after({ index: 10, ordinal: ALL_OF_ENTRY })).toBeUndefined();
    const at = ring.after({ index: 29, ordinal: 1 });
    expect(ring.at(at ?? -1)?.event.previousServerId).toBe(291);
    expect(ring.after({ index: 30, ordinal: ALL_OF_ENTRY })).toBe(ring.end);
    const end = ring.end;
    ring.reset(40);
    expect(ring.isKept(end)).toBe(false);
    expect(ring.after({ index: 30, ordinal: ALL_OF_ENTRY })).toBeUndefined();
    expect(ring.after({ index: 40, ordinal: ALL_OF_ENTRY })).toBe(ring.end);
  });
});
