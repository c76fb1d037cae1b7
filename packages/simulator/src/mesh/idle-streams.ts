// Streams that somebody opened and does not read: nearly all of regions in which nothing happens, and a few of those in which much does.
import { MeshError, type Region } from "@statemesh/contract";
import type { NodeRuntime } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";

/** Of so many streams one is of a region in which something happens. */
const BUSY = 100;
/** Regions that nobody works in. */
const QUIET_X = 1_000_000;
const QUIET = 64;

/** Opens them on a node, as far as it takes them. What is returned closes them, where its process still runs. */
export function openIdleStreams({ mesh }: NodeRuntime, regions: readonly Region[], count: number, recorder: Recorder): () => void {
  const open: number[] = [];
  for (let at = 0; at < count; at++) {
    const region = at % BUSY === 0 ? regions[(at / BUSY) % regions.length] : { x: QUIET_X + (at % QUIET), y: 0, z: 0 };
    if (region === undefined) break;
    try {
      open.push(mesh.subscriptions.subscribe({ regions: [region], strong: true, eventual: true, causal: true, eventualIntervalMs: 0, resumeToken: "" }));
    } catch (error) {
      recorder.sometimes(`idle stream refused with ${MeshError.from(error).reason}`);
      break;
    }
  }
  if (open.length === count) recorder.sometimes("idle streams all taken");
  return () => {
    for (const id of open) mesh.subscriptions.unsubscribe(id);
  };
}
