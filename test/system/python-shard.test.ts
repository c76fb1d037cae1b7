// A game server in another language: stubs made from the contract, and the example shard of examples/python on a real mesh.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../tools/free-port.ts";
import { generateStubs, pythonWithGrpc } from "../../tools/grpc-languages.ts";
import { ROOT } from "../../tools/step.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { runPlain } from "./installed-sdk.ts";

let cluster: Cluster | undefined;
let stubs = "";
let python = "";

beforeAll(async () => {
  stubs = mkdtempSync(join(tmpdir(), "statemesh-python-"));
  python = await pythonWithGrpc();
  await generateStubs("python", stubs);
  cluster = await startCluster({ groups: 2 });
}, 300_000);

function running(): Cluster {
  if (cluster === undefined) throw new Error("no cluster");
  return cluster;
}

function endpoints(): readonly string[] {
  return running().mesh.endpoints;
}

afterAll(async () => {
  await cluster?.close();
  rmSync(stubs, { recursive: true, force: true });
});

test("a Python shard takes a region, builds, follows it, asks again under one id, and reads errors", async () => {
  // Nobody is at the first address: it goes on to the next.
  const addresses = [`127.0.0.1:${await freePort()}`, ...endpoints()];
  const { status, output } = await runPlain(stubs, python, ["-B", join(ROOT, "examples/python/shard.py"), addresses.join(","), stubs], 60_000);
  expect(output.trim().split("\n")).toEqual([
    "own region_120_0_0",
    "built: OUTCOME_ACCEPTED by uncontested",
    "the subscription has shown it",
    "asked again: repeated True",
    "over it: OUTCOME_REJECTED CONFLICT, winner is the first: True",
    "wrong: INVALID_FIELD of operation.body.structure_placement.structure_id",
    "other content under one id: OPERATION_ID_REUSED",
    "after more than a lease's length: held True",
    "after the release: FENCED, current epoch 0",
  ]);
  expect(status).toBe(0);
});
