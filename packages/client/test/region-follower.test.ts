import type { ServerWritableStream } from "@grpc/grpc-js";
import {
  type AcceptHandoffRequest, type AbortHandoffRequest, type AcquireRequest, AuthorityEvent, AuthorityEvent_Kind as Kind, type CommitHandoffRequest, Handoff, HandoffPhase, MeshError,
  RegionAuthority, type RegisterRequest, type RenewRequest, type TransferRequest, type WatchRequest, WatchResponse,
} from "@statemesh/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect, type HeldLease, type MeshClient, type RegionFollower } from "../src/index.ts";
import { FakeNode, until } from "./fake-node.ts";

const region = { x: 3, y: 0, z: -1 };
const ME = 7;
const OTHER = 8;

function authority(serverId: number, epoch: number): RegionAuthority {
  const owner = { serverId, name: `s${serverId}`, address: `host-${serverId}:1`, priority: 0, incarnation: 1, maxRegions: 1 };
  return RegionAuthority.fromPartial({ region, regionText: "region_3_0_-1", epoch, ...(serverId === 0 ? {} : { owner }) });
}

function handoff(fromServerId: number, toServerId: number, phase: HandoffPhase, reason = ""): Handoff {
  return Handoff.fromPartial({ handoffId: "h", region, fromServerId, toServerId, epoch: 5, phase, reason, timeoutMs: 5_000 });
}

/** A server that follows a directory whose every word the test says. */
describe("a server that follows the directory", () => {
  let node: FakeNode;
  let client: MeshClient;
  let follower: RegionFollower<string>;
  let stream: ServerWritableStream<WatchRequest, WatchResponse> | undefined;
  let assigned: RegionAuthority[];
  let epoch: number;
  let log: string[];
  let load: () => Promise<void>;
  let drain: () => Promise<void>;
  let commit: (request: CommitHandoffRequest) => unknown;
  let abort: () => unknown;
  let index: number;
  let renewals = 0;

  beforeEach(async () => {
    stream = undefined;
    assigned = [];
    epoch = 5;
    log = [];
    index = 1;
    load = () => Promise.resolve();
    drain = () => Promise.resolve();
    commit = () => ({ handoff: handoff(ME, OTHER, HandoffPhase.COMMITTED), owner: authority(OTHER, 6).owner });
    abort = () => ({ handoff: handoff(OTHER, ME, HandoffPhase.ABORTED) });
    node = await FakeNode.start({
      unary: {
        register: (request: RegisterRequest) => ({ server: { ...request, priority: 0 }, ttlMs: 10_000 }),
        acquire: ({ serverId }: AcquireRequest) => {
          log.push("acquire");
          if (epoch === 0) throw new MeshError("LEASE_HELD", "another's");
          return { lease: { region, serverId, epoch, durationMs: 60_000 } };
        },
        renew: ({ leases, serverId }: RenewRequest) => (renewals++, { renewed: leases.map((each) => ({ ...each, serverId, durationMs: 60_000 })), lost: [], assigned, handoffs: [] }),
        release: () => ({ released: true }),
        transfer: (_: TransferRequest) => ({ handoff: handoff(ME, OTHER, HandoffPhase.PREPARED) }),
        acceptHandoff: ({ handoffId }: AcceptHandoffRequest) => (log.push(`accept ${handoffId}`), { handoff: handoff(OTHER, ME, HandoffPhase.ACCEPTED) }),
        abortHandoff: ({ reason }: AbortHandoffRequest) => (log.push(`abort: ${reason}`), abort()),
        commitHandoff: (request: CommitHandoffRequest) => (log.push("commit"), commit(request)),
      },
      watch: (call) => {
        stream = call;
      },
    });
    client = connect({ endpoints: [node.address], serverId: ME, name: "seven", maxRegions: 10, heartbeatMs: 50, backoffMinMs: 1, backoffMaxMs: 5 });
    await client.authority.register();
    follower = client.follow<string>({
      load: async (_, why, signal) => {
        log.push(`load for a ${why}`);
        signal.addEventListener("abort", () => log.push("load is for nothing"));
        await load();
      },
      begin: (lease, why) => log.push(`begin ${lease.epoch} after a ${why}`),
      drain: async (_, to) => {
        log.push(`drain for ${to}`);
        await drain();
      },
      handedOver: (_, owner, held) => log.push(`handed to ${owner?.address ?? "somebody"} with ${held.join() || "nothing"}`),
      resume: (lease, held) => log.push(`resume ${lease.held ? lease.epoch : "without a lease"} with ${held.join() || "nothing"}`),
      failed: (_, error) => log.push(`failed: ${error.reason}`),
    });
    await until(() => stream !== undefined);
  });

  afterEach(() => {
    client.close();
    node.kill();
  });

  const say = (event: Parameters<typeof AuthorityEvent.fromPartial>[0]): void => {
    stream?.write(WatchResponse.fromPartial({ event: { $case: "changes", value: { events: [AuthorityEvent.fromPartial(event)] } }, position: { index: ++index } }));
  };
  const about = (kind: Kind, each: Handoff, owner = authority(each.fromServerId, 5)): void => say({ kind, handoff: each, authority: owner });
  const logged = async (entry: string): Promise<void> => await until(() => log.includes(entry));

  it("loads what is handed to it, says so, and begins with the commit", async () => {
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED));
    await logged("accept h");
    about(Kind.HANDOFF_ACCEPTED, handoff(OTHER, ME, HandoffPhase.ACCEPTED));
    epoch = 6;
    about(Kind.TRANSFERRED, handoff(OTHER, ME, HandoffPhase.COMMITTED), authority(ME, 6));
    await logged("begin 6 after a handoff");
    expect(log).toEqual(["load for a handoff", "accept h", "acquire", "begin 6 after a handoff"]);
    expect(follower.ownerOf(region)?.owner?.serverId).toBe(ME);
  });

  it("gives up loading where the handoff is aborted, and aborts where it can't load", async () => {
    let finish: () => void = () => undefined;
    load = () => new Promise((resolve) => (finish = resolve));
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED));
    await logged("load for a handoff");
    about(Kind.HANDOFF_ABORTED, handoff(OTHER, ME, HandoffPhase.ABORTED, "DEADLINE"));
    await logged("load is for nothing");
    finish();
    load = () => Promise.reject(new MeshError("STORE_UNAVAILABLE", "no database"));
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED));
    await logged("abort: no database");
    expect(log).not.toContain("accept h");
  });

  it("drains what it gives away, holds back what comes meanwhile and passes it on", async () => {
    const lease = await client.authority.acquire(region);
    expect(follower.hold(region, "early")).toBe(false);
    // Under the id that the client chose, the handoff of the directory's words is another one: it asks how its own stands.
    const handedOver = follower.handOver(lease, OTHER).catch(MeshError.from);
    let finish: () => void = () => undefined;
    drain = () => new Promise((resolve) => (finish = resolve));
    about(Kind.HANDOFF_ACCEPTED, handoff(ME, OTHER, HandoffPhase.ACCEPTED));
    await logged(`drain for ${OTHER}`);
    expect(lease.held).toBe(true);
    expect(follower.hold(region, "a")).toBe(true);
    expect(follower.hold(region, "b")).toBe(true);
    commit = () => {
      log.push(lease.held ? "the lease still runs" : "the lease is over");
      return { handoff: handoff(ME, OTHER, HandoffPhase.COMMITTED), owner: authority(OTHER, 6).owner };
    };
    finish();
    await logged(`handed to host-${OTHER}:1 with a,b`);
    expect(log).toEqual(["acquire", `drain for ${OTHER}`, "commit", "the lease is over", `handed to host-${OTHER}:1 with a,b`]);
    expect(follower.hold(region, "late")).toBe(false);
    follower.close();
    expect(await handedOver).toMatchObject({ reason: "CANCELLED" });
  });

  it("goes on with what it held back where the handoff is aborted, before the commit and by it", async () => {
    const lease = await client.authority.acquire(region);
    let finish: () => void = () => undefined;
    drain = () => new Promise((resolve) => (finish = resolve));
    about(Kind.HANDOFF_ACCEPTED, handoff(ME, OTHER, HandoffPhase.ACCEPTED));
    await logged(`drain for ${OTHER}`);
    follower.hold(region, "a");
    about(Kind.HANDOFF_ABORTED, handoff(ME, OTHER, HandoffPhase.ABORTED, "TARGET_LOST"));
    await logged("resume 5 with a");
    finish();
    expect(lease.held).toBe(true);

    drain = () => Promise.resolve();
    commit = () => {
      throw new MeshError("HANDOFF_PHASE", "aborted");
    };
    about(Kind.HANDOFF_ACCEPTED, Handoff.fromPartial({ ...handoff(ME, OTHER, HandoffPhase.ACCEPTED), handoffId: "h2" }));
    await logged("resume 5 with nothing");
    expect(lease.held).toBe(false);
    expect(client.authority.leaseOf(region)?.held).toBe(true);
    // Who can't drain keeps the region.
    drain = () => Promise.reject(new MeshError("OVERLOADED", "too busy"));
    about(Kind.HANDOFF_ACCEPTED, Handoff.fromPartial({ ...handoff(ME, OTHER, HandoffPhase.ACCEPTED), handoffId: "h3" }));
    await logged("abort: too busy");
    await until(() => log.filter((entry) => entry === "resume 5 with nothing").length === 2);
  });

  it("believes neither side where a commit is in doubt and another server holds the region", async () => {
    await client.authority.acquire(region);
    commit = () => {
      epoch = 0;
      throw new MeshError("HANDOFF_PHASE", "over");
    };
    about(Kind.HANDOFF_ACCEPTED, handoff(ME, OTHER, HandoffPhase.ACCEPTED));
    await until(() => log.some((entry) => entry.startsWith("handed to")));
    expect(client.authority.leases).toEqual([]);
  });

  it("begins with the load of a handoff that a takeover overtakes, once that is through", async () => {
    let finish: () => void = () => undefined;
    load = () => new Promise((resolve) => (finish = resolve));
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED));
    await logged("load for a handoff");
    epoch = 6;
    say({ kind: Kind.TAKEN_OVER, authority: authority(ME, 6), previousServerId: OTHER });
    about(Kind.HANDOFF_ABORTED, handoff(OTHER, ME, HandoffPhase.ABORTED, "OWNER_LOST"), authority(ME, 6));
    await logged("acquire");
    // What was said before comes once more, and late.
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED), authority(ME, 6));
    await until(() => renewals > 1);
    expect(log).not.toContain("begin 6 after a handoff");
    finish();
    await logged("begin 6 after a handoff");
    load = () => Promise.resolve();
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED), authority(ME, 6));
    say({ kind: Kind.HANDOFF_PREPARED, handoff: Handoff.fromPartial({ ...handoff(OTHER, ME, HandoffPhase.PREPARED), handoffId: "next", epoch: 7 }) });
    await logged("accept next");
    expect(log).toEqual(["load for a handoff", "acquire", "begin 6 after a handoff", "load for a handoff", "accept next"]);
  });

  it("loads anew where the handoff was aborted before the region was given", async () => {
    load = () => (log.filter((entry) => entry.startsWith("load for")).length > 1 ? Promise.resolve() : new Promise(() => undefined));
    about(Kind.HANDOFF_PREPARED, handoff(OTHER, ME, HandoffPhase.PREPARED));
    about(Kind.HANDOFF_ABORTED, handoff(OTHER, ME, HandoffPhase.ABORTED, "OWNER_LOST"));
    say({ kind: Kind.TAKEN_OVER, authority: authority(ME, 5), previousServerId: OTHER });
    await logged("begin 5 after a takeover");
    expect(log).toEqual(["load for a handoff", "load is for nothing", "acquire", "load for a takeover", "begin 5 after a takeover"]);
  });

  /** Gives the region away, with one action kept back, up to where the test says how draining ends. */
  const giving = async (): Promise<{ lease: HeldLease; finish(): void; fail(): void }> => {
    const lease = await client.authority.acquire(region);
    const drained = Promise.withResolvers<void>();
    drain = () => drained.promise;
    about(Kind.HANDOFF_ACCEPTED, handoff(ME, OTHER, HandoffPhase.ACCEPTED));
    await logged(`drain for ${OTHER}`);
    follower.hold(region, "a");
    return { lease, finish: drained.resolve, fail: () => drained.reject(new MeshError("OVERLOADED", "too busy")) };
  };
  const receivers = (): string[] => log.filter((entry) => entry.startsWith("handed to") || entry.startsWith("resume"));

  it("goes on by the answer to its own abort where it can't drain, or hears there that the region is another's", async () => {
    const first = await giving();
    first.fail();
    await logged("resume 5 with a");
    expect(first.lease.held).toBe(true);
    expect(follower.hold(region, "b")).toBe(false);
    log.length = 0;
    const second = await giving();
    abort = () => {
      throw new MeshError("HANDOFF_PHASE", "committed");
    };
    epoch = 0;
    second.lease.end();
    second.fail();
    await logged("handed to somebody with a");
    expect(follower.hold(region, "b")).toBe(false);
    expect(receivers()).toHaveLength(1);
  });

  it.each([
    ["the handoff is committed without it", Kind.TRANSFERRED, handoff(ME, OTHER, HandoffPhase.COMMITTED), authority(OTHER, 6), `handed to host-${OTHER}:1 with a`],
    ["the handoff is aborted", Kind.HANDOFF_ABORTED, handoff(ME, OTHER, HandoffPhase.ABORTED, "OWNER_LOST"), authority(0, 5), "handed to somebody with a"],
    ["the region is another's", Kind.TAKEN_OVER, undefined, authority(9, 6), "handed to host-9:1 with a"],
  ])("passes on what it kept back, once, where its lease ran out and %s", async (_, kind, each, owner, entry) => {
    const { lease, finish } = await giving();
    lease.end();
    say({ kind, authority: owner, ...(each === undefined ? {} : { handoff: each }) });
    await logged(entry);
    expect(follower.hold(region, "b")).toBe(false);
    finish();
    // It is free for the next time.
    drain = () => Promise.resolve();
    epoch = 9;
    say({ kind: Kind.TAKEN_OVER, authority: authority(ME, 9) });
    await logged("begin 9 after a takeover");
    expect(receivers()).toEqual([entry]);
  });

  it("passes on what it kept back where it only hears that the region is its own again, under a later epoch", async () => {
    const { lease } = await giving();
    lease.end();
    epoch = 9;
    assigned = [authority(ME, 9)];
    await logged("begin 9 after a takeover");
    expect(receivers()).toEqual(["handed to somebody with a"]);
  });

  it("takes a region back after a commit in doubt only with the handoff aborted", async () => {
    await client.authority.acquire(region);
    log.length = 0;
    commit = () => {
      throw new MeshError("HANDOFF_PHASE", "aborted");
    };
    about(Kind.HANDOFF_ACCEPTED, handoff(ME, OTHER, HandoffPhase.ACCEPTED));
    await logged("resume 5 with nothing");
    expect(log).toEqual([`drain for ${OTHER}`, "commit", "abort: aborted", "acquire", "resume 5 with nothing"]);
    log.length = 0;
    // The commit may come late, so the region is nobody's for this side.
    abort = () => {
      throw new MeshError("INVALID_FIELD", "no answer that says how it stands");
    };
    about(Kind.HANDOFF_ACCEPTED, Handoff.fromPartial({ ...handoff(ME, OTHER, HandoffPhase.ACCEPTED), handoffId: "h2" }));
    await logged("handed to somebody with nothing");
    expect(log).not.toContain("acquire");
    expect(client.authority.leases).toEqual([]);
  });

  it("keeps a region under another epoch than it gave away for nobody: it was another's in between", async () => {
    await client.authority.acquire(region);
    commit = () => {
      epoch = 8;
      throw new MeshError("NOT_FOUND", "ended long ago");
    };
    about(Kind.HANDOFF_ACCEPTED, handoff(ME, OTHER, HandoffPhase.ACCEPTED));
    await logged("handed to somebody with nothing");
    expect(client.authority.leases).toEqual([]);
  });

  it("takes over what the directory gives it, by the watch or by its renewals alone, and not what it gave up", async () => {
    say({ kind: Kind.TAKEN_OVER, authority: authority(ME, 5), previousServerId: OTHER });
    await logged("begin 5 after a takeover");
    expect(log).toEqual(["acquire", "load for a takeover", "begin 5 after a takeover"]);
    const lease = client.authority.leaseOf(region);
    if (lease === undefined) throw new Error("no lease");
    await client.authority.release(lease);
    // A renewal's answer that was on its way says that the region is still this server's.
    assigned = [authority(ME, 5)];
    const before = renewals;
    await until(() => renewals > before + 2);
    expect(client.authority.leaseOf(region)).toBeUndefined();
    epoch = 9;
    assigned = [authority(ME, 9)];
    await logged("begin 9 after a takeover");
  });
});
