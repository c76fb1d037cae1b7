// A game server whose node is cut off from the others goes on building, and hears what became of it.
// Talks to one node alone. Stop or cut off the other nodes (kill -STOP) once it says so, and let them go on later.
// node partition.js HOST:PORT [SECONDS]
import { connect, type Decision, Outcome, type Region, Side } from "@statemesh/client";

const endpoint = process.argv[2]?.split(",")[0] ?? "127.0.0.1:7401";
const limitMs = Number(process.argv[3] ?? 60) * 1_000;
const region: Region = { x: 100, y: 0, z: 0 };

const client = connect({ endpoints: [endpoint], serverId: 9106, name: "partition" });
await client.authority.register();

// Tells when a partition starts and ends, as this node sees it.
const views = client.watchView();
void (async () => {
  for await (const { state } of views) {
    if (state?.side === Side.LOSING) console.log("cut off: nothing is decided here now");
    if (state?.side === Side.WHOLE) console.log("the mesh is whole");
  }
})().catch((error: unknown) => console.log(`the watch ended: ${String(error)}`));

// Builds a wall a time, and allows a node that is cut off to keep it.
const run = client.nextId();
let kept: Decision | undefined;
const endMs = performance.now() + limitMs;
for (let place = 0; kept === undefined && performance.now() < endMs; place++) {
  const minX = 200_000 + (place % 200) * 8;
  const bounds = { minX, minY: 0, minZ: 8 * Math.floor(place / 200), maxX: minX + 4, maxY: 4, maxZ: 4 + 8 * Math.floor(place / 200) };
  const wall = client.operations.structurePlacement({ region, epoch: 0 }, { structureId: `wall-${run}-${place}`, kind: "wall", bounds }, { allowTentative: true });
  const decision = await client.execute(wall, { deadlineMs: 30_000 });
  if (decision.outcome === Outcome.TENTATIVE) kept = decision;
  else if (place === 0) console.log("built; waiting to be cut off");
  await new Promise((resolve) => setTimeout(resolve, 100));
}

if (kept === undefined) {
  console.log("no partition came, and everything was decided at once");
} else {
  // It is on the node's disk, and nothing of it is in force: players see it as a plan.
  console.log(`kept: ${kept.operationId} would ${kept.reason === "" ? "stand" : `fail, ${kept.reason}`}`);
  for await (const { outcome, reason } of client.healing.watch([kept.operationId])) {
    if (outcome === Outcome.TENTATIVE) continue;
    console.log(outcome === Outcome.ACCEPTED ? "healed: it stands" : `healed: refused, ${reason}`);
    break;
  }
}
views.close();
await client.shutdown();
