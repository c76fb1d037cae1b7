import { AuthorityEvent_Kind as Kind, HandoffPhase } from "@statemesh/contract";
import type { DirectoryCommand } from "@statemesh/contract/log";
import { beforeEach, describe, expect, it } from "vitest";
import { Directory } from "@statemesh/replica";
import { StateHash } from "../src/state-hash.ts";

type Body = NonNullable<DirectoryCommand["command"]>;
const REGION = { x: 1, y: 0, z: -1 };
const kindsOf = (change: { readonly events: readonly { readonly kind: number }[] }): number[] => change.events.map(({ kind }) => kind);

describe("the directory hands a region over", () => {
  let directory: Directory;
  beforeEach(() => {
    directory = new Directory(new StateHash());
    for (const serverId of [1, 2, 3, 4]) register(serverId);
    run({ $case: "acquire", value: { serverId: 1, region: REGION, durationMs: 3_000 } });
  });

  const run = (command: Body) => directory.apply({ command, nowMs: 0 });
  const register = (serverId: number, maxRegions = 0) =>
    run({ $case: "register", value: { server: { serverId, name: `s${serverId}`, address: `host-${serverId}:1`, priority: 0, incarnation: 1, maxRegions }, ttlMs: 1_000 } });
  const prepare = (handoffId = "h", toServerId = 2, fromServerId = 1, epoch = 1) =>
    run({ $case: "prepare", value: { handoff: { handoffId, region: REGION, fromServerId, toServerId, epoch, phase: HandoffPhase.UNSPECIFIED, reason: "", timeoutMs: 5_000 } } });
  const ready = (serverId = 2, handoffId = "h") => run({ $case: "ready", value: { handoffId, serverId } });
  const finish = (commit: boolean, serverId = 1, handoffId = "h") => run({ $case: "finish", value: { handoffId, serverId, commit, reason: commit ? "" : "CHANGED_MIND" } });
  const expire = (what: { leases?: number[]; servers?: number[]; failover?: boolean; silent?: number[]; handoffs?: string[] }) =>
    run({
      $case: "expire",
      value: {
        leases: (what.leases ?? []).map((epoch) => ({ region: REGION, epoch, players: 0 })),
        servers: (what.servers ?? []).map((serverId) => ({ serverId, incarnation: 1 })),
        failover: what.failover ?? false,
        silentServerIds: what.silent ?? [],
        handoffIds: what.handoffs ?? [],
      },
    });
  const release = () => run({ $case: "release", value: { serverId: 1, region: REGION, epoch: 1 } });
  const owner = () => {
    const row = directory.lease(REGION);
    return `${row?.serverId}@${row?.epoch}`;
  };

  it("prepared, accepted, committed: the owner changes with the commit, and both are told", () => {
    expect(prepare()).toMatchObject({ result: { handoff: { phase: HandoffPhase.PREPARED } }, prepared: [{ handoffId: "h" }], fenced: [] });
    expect(owner()).toBe("1@1");
    expect(ready().result.handoff?.phase).toBe(HandoffPhase.ACCEPTED);
    expect(owner()).toBe("1@1");
    const change = finish(true);
    expect(change).toMatchObject({ result: { handoff: { phase: HandoffPhase.COMMITTED } }, fenced: [{ serverId: 2, epoch: 2 }], renewed: [{ serverId: 2, epoch: 2 }] });
    expect(change.events).toMatchObject([{ kind: Kind.TRANSFERRED, previousServerId: 1, authority: { epoch: 2, owner: { serverId: 2, address: "host-2:1" } } }]);
    expect(owner()).toBe("2@2");
  });

  it("answers each repeated call as the first, and changes nothing", () => {
    prepare();
    expect(kindsOf(prepare())).toEqual([]);
    expect(prepare("h", 3).result.reason).toBe("REQUEST_ID_REUSED");
    ready();
    expect(kindsOf(ready())).toEqual([]);
    finish(true);
    expect(finish(true)).toMatchObject({ result: { reason: "", handoff: { phase: HandoffPhase.COMMITTED } }, fenced: [], events: [] });
    expect(finish(false).result).toMatchObject({ reason: "HANDOFF_PHASE", metadata: new Map([["handoff_id", "h"], ["phase", "COMMITTED"]]) });
    expect(ready().result.handoff?.phase).toBe(HandoffPhase.COMMITTED);
  });

  it("is refused by name where it cannot be", () => {
    expect(prepare("h", 2, 3).result).toMatchObject({ reason: "FENCED", holder: { epoch: 1, owner: { serverId: 1 } } });
    expect(prepare("h", 2, 1, 2).result.reason).toBe("FENCED");
    expect(prepare("h", 9).result.reason).toBe("SERVER_NOT_REGISTERED");
    expect(prepare("h", 1).result.reason).toBe("INVALID_FIELD");
    prepare();
    expect(prepare("other", 3).result).toMatchObject({ reason: "HANDOFF_PENDING", metadata: new Map([["handoff_id", "h"]]) });
    expect(finish(true).result).toMatchObject({ reason: "HANDOFF_PHASE", metadata: new Map([["handoff_id", "h"], ["phase", "PREPARED"]]) });
    expect(ready(3).result.reason).toBe("INVALID_FIELD");
    ready();
    expect(finish(true, 2).result.reason).toBe("INVALID_FIELD");
    expect(finish(false, 3).result.reason).toBe("INVALID_FIELD");
    expect(ready(2, "unknown").result.reason).toBe("NOT_FOUND");
    expect(owner()).toBe("1@1");
  });

  it("is ended by either side, an operator or its time, and then the owner goes on and may begin anew", () => {
    for (const [at, serverId] of [0, 1, 2].entries()) {
      prepare(`h${at}`);
      if (serverId === 2) ready(2, `h${at}`);
      expect(finish(false, serverId, `h${at}`).events).toMatchObject([{ kind: Kind.HANDOFF_ABORTED, handoff: { reason: "CHANGED_MIND" } }]);
      expect(ready(2, `h${at}`).result).toMatchObject({ reason: "HANDOFF_PHASE" });
    }
    prepare("late");
    expect(expire({ handoffs: ["late"] }).events).toMatchObject([{ kind: Kind.HANDOFF_ABORTED, handoff: { reason: "DEADLINE" } }]);
    expect(finish(true, 1, "late").result.reason).toBe("HANDOFF_PHASE");
    expect(owner()).toBe("1@1");
    prepare("again");
    ready(2, "again");
    finish(true, 1, "again");
    expect(owner()).toBe("2@2");
  });

  it("is not touched by its owner acquiring again; with an abort first the owner keeps its epoch and no commit comes late", () => {
    const again = { $case: "acquire", value: { serverId: 1, region: REGION, durationMs: 3_000 } } as const;
    prepare();
    ready();
    expect(run(again)).toMatchObject({ result: { lease: { epoch: 1 } }, events: [] });
    expect(directory.tables.handoffs.get("h")?.phase).toBe(HandoffPhase.ACCEPTED);
    finish(false);
    expect(run(again).result.lease?.epoch).toBe(1);
    expect(finish(true).result.reason).toBe("HANDOFF_PHASE");
    expect(owner()).toBe("1@1");
  });

  describe("whoever dies, at whatever step, one server owns the region or none", () => {
    const target = { servers: [2] };
    const ownersLease = { leases: [1] };
    it.each([
      { step: "prepared", death: target, owns: "1@1" },
      { step: "prepared", death: ownersLease, owns: "0@1" },
      { step: "accepted", death: target, owns: "1@1" },
      { step: "accepted", death: ownersLease, owns: "2@2" },
      { step: "accepted", death: { ...ownersLease, silent: [2] }, owns: "0@1" },
      { step: "accepted", death: { ...ownersLease, servers: [2] }, owns: "0@1" },
      { step: "accepted", death: { servers: [1] }, owns: "2@2" },
      { step: "committed", death: { servers: [1] }, owns: "2@2" },
      { step: "committed", death: ownersLease, owns: "2@2" },
      { step: "committed", death: target, owns: "0@2" },
    ])("$step, then $death ends: $owns", ({ step, death, owns }) => {
      prepare();
      if (step !== "prepared") ready();
      if (step === "committed") finish(true);
      expire(death);
      expect(owner()).toBe(owns);
      expect(directory.tables.handoffs.size).toBe(0);
      // Nothing that comes late changes it.
      ready();
      finish(true);
      expect(owner()).toBe(owns);
    });
  });

  it("a release hands it to a target that has accepted, and ends a handoff that is only prepared", () => {
    prepare();
    expect(release().result.released).toBe(true);
    expect(owner()).toBe("0@1");
    run({ $case: "acquire", value: { serverId: 1, region: REGION, durationMs: 3_000 } });
    prepare("h2", 2, 1, 2);
    ready(2, "h2");
    run({ $case: "release", value: { serverId: 1, region: REGION, epoch: 2 } });
    expect(owner()).toBe("2@3");
  });

  it("tells of the region's next owner before it tells that the handoff came to nothing", () => {
    prepare();
    expect(kindsOf(release())).toEqual([Kind.RELEASED, Kind.HANDOFF_ABORTED]);
    run({ $case: "acquire", value: { serverId: 1, region: REGION, durationMs: 3_000 } });
    register(3, 8);
    prepare("h2", 2, 1, 2);
    const change = expire({ leases: [2], failover: true });
    expect(kindsOf(change)).toEqual([Kind.TAKEN_OVER, Kind.HANDOFF_ABORTED]);
    expect(change.events.map(({ authority }) => authority?.epoch)).toEqual([3, 3]);
  });

  it("tells the sides of a handoff, and a server of what it was given, with its renewals", () => {
    prepare();
    const renew = (serverId: number, leases: { region: typeof REGION; epoch: number; players: number }[]) =>
      run({ $case: "renew", value: { serverId, leases, durationMs: 3_000, ttlMs: 1_000, load: undefined } }).result;
    expect(renew(2, [])).toMatchObject({ handoffs: [{ handoffId: "h" }], assigned: [] });
    expect(renew(3, []).handoffs).toEqual([]);
    ready();
    finish(true);
    expect(renew(2, [])).toMatchObject({ handoffs: [], assigned: [{ epoch: 2, owner: { serverId: 2 } }] });
    expect(renew(2, [{ region: REGION, epoch: 2, players: 5 }])).toMatchObject({ assigned: [], renewed: [{ epoch: 2 }] });
    expect(directory.tables.leases.playersOf(2)).toBe(5);
  });

  describe("backups", () => {
    beforeEach(() => {
      register(3, 10);
      register(4, 10);
      register(5, 10);
    });
    const backupsOf = () => directory.lease(REGION)?.backups;
    const choose = () => run({ $case: "backups", value: { regions: [REGION] } });

    it("are two servers that take regions, those with the least to do first", () => {
      run({ $case: "renew", value: { serverId: 3, leases: [], durationMs: 3_000, ttlMs: 1_000, load: { players: 0, tickUs: 45_000, cpuPermille: 0 } } });
      expect(choose().events).toMatchObject([{ kind: Kind.BACKUPS_CHANGED, authority: { backupServerIds: [4, 5] } }]);
      expect(kindsOf(choose())).toEqual([]);
      // One that lives stays until another is much better.
      run({ $case: "renew", value: { serverId: 4, leases: [], durationMs: 3_000, ttlMs: 1_000, load: { players: 0, tickUs: 0, cpuPermille: 100 } } });
      run({ $case: "renew", value: { serverId: 3, leases: [], durationMs: 3_000, ttlMs: 1_000, load: { players: 0, tickUs: 0, cpuPermille: 0 } } });
      choose();
      expect(backupsOf()).toEqual([4, 5]);
      run({ $case: "renew", value: { serverId: 5, leases: [], durationMs: 3_000, ttlMs: 1_000, load: { players: 0, tickUs: 0, cpuPermille: 900 } } });
      choose();
      expect(backupsOf()).toEqual([4, 3]);
    });

    it("are rather those that own regions beside it", () => {
      run({ $case: "acquire", value: { serverId: 5, region: { x: 2, y: 0, z: -1 }, durationMs: 3_000 } });
      register(5, 1_000);
      choose();
      expect(backupsOf()?.[0]).toBe(5);
    });

    it("take over when the lease runs out, where they are heard of; servers that take none are never given one", () => {
      choose();
      expect(expire({ leases: [1], failover: true, silent: [3] })).toMatchObject({ fenced: [{ serverId: 4, epoch: 2 }], events: [{ kind: Kind.TAKEN_OVER, previousServerId: 1 }] });
      expect(expire({ leases: [2], failover: true, silent: [3, 5] })).toMatchObject({ fenced: [{ serverId: 0, epoch: 2 }], events: [{ kind: Kind.EXPIRED }] });
    });

    it("a release is no failover", () => {
      choose();
      release();
      expect(owner()).toBe("0@1");
    });

    it("regions that nobody owns are given out, as many as a server takes", () => {
      register(4, 1);
      register(5, 1);
      register(3, 0);
      const regions = [0, 1, 2].map((x) => ({ x: x + 50, y: 0, z: 0 }));
      const change = run({ $case: "assign", value: { regions: [REGION, ...regions], durationMs: 3_000, silentServerIds: [] } });
      expect(change.result.assigned.map(({ owner: to }) => to?.serverId)).toEqual([4, 5]);
      expect(owner()).toBe("1@1");
    });
  });
});
