import { type InstallSnapshotRequest, MeshError, type RaftMessage, RaftMessageType } from "@statemesh/contract";
import { SnapshotStore } from "@statemesh/wal";
import { expect, test } from "vitest";
import { receiveSnapshot, snapshotParts } from "../src/snapshot-transfer.ts";
import { newFolder } from "./memory-folder.ts";

const MESSAGE: RaftMessage = {
  groupId: 1, type: RaftMessageType.SNAPSHOT, from: 1, to: 2, term: 2, logIndex: 7, logTerm: 2, entries: [], commit: 7, reject: false, rejectHint: 0, context: 0, forced: false, quiesce: false,
};

async function* parts(): AsyncGenerator<InstallSnapshotRequest> {
  const store = await SnapshotStore.open(newFolder());
  const writer = await store.create({ groupId: 1, index: 7, term: 2, voters: [1, 2, 3], learners: [] });
  await writer.write(new Uint8Array(600 * 1024));
  await writer.finish();
  yield* snapshotParts(MESSAGE, await store.read(1, 7));
}

test("of a sender that is not let in nothing is written, and no further part is asked for", async () => {
  const folder = newFolder();
  let asked = 0;
  async function* counted(): AsyncGenerator<InstallSnapshotRequest> {
    for await (const part of parts()) {
      asked++;
      yield part;
    }
  }
  const refuses = (first: InstallSnapshotRequest): void => {
    expect(first.header?.from).toBe(1);
    throw new MeshError("PEER_REFUSED", "this node is of cluster a, not b");
  };
  const options = (groupId: number) => ({ groupId, decisionWindow: 8, touchCapacity: 8 });
  await expect(receiveSnapshot(counted(), refuses, await SnapshotStore.open(folder), 1, options)).rejects.toMatchObject({ reason: "PEER_REFUSED" });
  expect([asked, await folder.list()]).toEqual([1, []]);
});
