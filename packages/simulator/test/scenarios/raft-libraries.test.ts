// What was found in other Raft libraries, in NATS JetStream, CockroachDB and TigerBeetle by others.
import { describe, test } from "vitest";
import { at, scenario } from "./scenario.ts";

describe("NATS JetStream", () => {
  test("nothing is acknowledged before it is durable", async () => {
    await scenario({ maxSyncMs: 15, paceMs: 30 }, [at(2_000, "slow disk", { node: 1, maxSyncMs: 300, ms: 4_000 }), at(3_000, "power cut for all"), at(5_000, "power cut for all")], ["slow disk"]);
  });

  test("one flipped bit on a minority loses no acknowledged write", async () => {
    await scenario(
      { segmentBytes: 16_384, paceMs: 30 },
      [at(4_000, "bit rot", { node: 2, place: 0.5, bit: 3 }), at(4_100, "kill", { node: 2 }), at(5_500, "power cut for all")],
      ["bit rot"],
    );
  });

  test("a snapshot that was damaged deletes nothing: the node refuses it, and gets a copy", async () => {
    await scenario(
      { snapshotLogBytes: 8_192, trailingEntries: 8, segmentBytes: 16_384, paceMs: 25 },
      [at(4_000, "snapshot rot", { node: 2, place: 0.4, bit: 3 }), at(5_200, "power cut for all")],
      ["snapshot rot", "damaged snapshot refused"],
      [1, 2, 3],
    );
  });

  test("a change of the members, a kill and a partition together lose nothing", async () => {
    await scenario(
      { spares: 1, paceMs: 30, safetyMs: 9_000 },
      [at(3_000, "node replaced", { node: 2, named: true }), at(3_030, "kill of the leader"), at(3_200, "isolate", { node: 3, ms: 1_500 }), at(5_500, "change cancelled"), at(6_000, "kill", { node: 1 })],
      ["node replaced", "kill of the leader", "isolate"],
      [1, 2],
    );
  });

  test("kills and partitions together lose nothing", async () => {
    await scenario({}, [at(2_000, "isolate", { node: 3, ms: 2_000 }), at(2_500, "kill", { node: 1 }), at(4_500, "partition", { side: [2], ms: 1_500 }), at(5_000, "kill", { node: 2 })], ["kill"]);
  });
});

describe("CockroachDB", () => {
  test("a second proposal of one command does not do it twice", async () => {
    const kinds = ["leadership transfer", "leadership transfer", "kill of the leader", "leadership transfer"];
    await scenario({ paceMs: 25, subscribers: 0 }, kinds.map((kind, round) => at(2_000 + round * 1_400, kind, { node: 1 + (round % 3), group: 1 })), ["decision repeated"]);
  });
});

describe("TigerBeetle", () => {
  test("requests are not tried for ever, and a node may lose all of its data", async () => {
    await scenario({ snapshotLogBytes: 8_192 }, [at(3_000, "reformat", { node: 2 }), at(5_000, "kill of the leader")], ["reformat", "peer came back empty"]);
  });
});

describe("openraft", () => {
  test("a quorum is never counted from replies of another term, and PreVote does not block a side that could lead", async () => {
    await scenario({ nodes: 5 }, [at(2_000, "ring", { ms: 2_500 }), at(5_000, "bridge", { node: 3, side: [1, 2], ms: 2_500 })], ["ring", "bridge"]);
    await scenario({}, [at(2_000, "one-way cut", { from: 1, to: 2, ms: 2_000 }), at(4_500, "one-way cut", { from: 2, to: 1, ms: 2_000 }), at(4_600, "one-way cut", { from: 3, to: 1, ms: 2_000 })], ["one-way cut"], [3]);
  });
});

describe("hashicorp/raft", () => {
  test("a disk that hangs under a leader whose heartbeats go on blocks the cluster only while it hangs", async () => {
    await scenario({}, [1, 2, 3].map((node) => at(1_500 + node * 1_500, "stuck disk", { node, ms: 1_400 })), ["stuck disk"]);
  });

  test("a follower that is slow to take a snapshot is not sent one after the other for ever", async () => {
    await scenario(
      { snapshotLogBytes: 8_192, trailingEntries: 0, paceMs: 25 },
      [at(2_000, "isolate", { node: 2, ms: 2_000 }), at(4_000, "clogged path", { from: 1, to: 2, bandwidth: 20, ms: 3_500 }), at(4_000, "clogged path", { from: 3, to: 2, bandwidth: 20, ms: 3_500 })],
      ["snapshot installed"],
    );
  });
});

describe("a rolling upgrade", () => {
  test("raises the version under load, once the last node speaks it; an older build that comes back stops", async () => {
    await scenario(
      { oldNodes: 3, spares: 1, safetyMs: 9_000 },
      [at(2_000, "upgrade", { node: 1 }), at(3_000, "upgrade", { node: 2 }), at(3_500, "node added", { named: true }), at(4_000, "upgrade", { node: 3 }), at(6_000, "older build", { node: 2, ms: 1_500 })],
      ["operator refused with VERSION_TOO_LOW", "version raised", "older build stopped", "member change done"],
    );
  });
});

describe("NuRaft", () => {
  test("what is committed is never rolled back by a leader that comes back", async () => {
    await scenario({ paceMs: 30 }, [at(2_000, "pause of the leader", { ms: 1_500 }), at(4_500, "isolate", { node: 1, ms: 1_500 }), at(4_800, "kill", { node: 2 }), at(6_500, "pause of the leader", { ms: 1_000 })], ["pause of the leader"]);
  });
});

describe("dragonboat", () => {
  test("a node that returns with an emptied disk holds copies and never votes", async () => {
    await scenario({}, [at(2_500, "reformat", { node: 1 }), at(4_000, "isolate", { node: 2, ms: 1_000 }), at(5_500, "reformat", { node: 1 })], ["reformat"]);
  });

  test("a node that returns with an emptied disk is replaced, by itself as a new member, and votes as that", async () => {
    await scenario({ spares: 1 }, [at(3_000, "wiped node replaced", { node: 1, named: false }), at(5_500, "kill", { node: 2 })], ["wiped node replaced"]);
  });
});
