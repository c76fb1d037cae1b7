/** Operations that come at a rate, whatever becomes of those before: how a busy world treats a mesh. In a process of its own. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ConsistencyServiceClient, type ExecuteStreamResponse, type Operation } from "@statemesh/contract";
import { clientOptions } from "@statemesh/service";
import { credentials } from "@grpc/grpc-js";
import { build } from "hdr-histogram-js";
import { type LoadTarget, OperationMix } from "./bench-load.ts";
import { nodeProgram } from "./service-process.ts";

export interface OpenLoopSpec {
  readonly targets: readonly LoadTarget[];
  /** Registered by who asks. */
  readonly serverId: number;
  /** Operations a second, over all targets. */
  readonly perSecond: number;
  /** Streams to each target. */
  readonly streams: number;
  /** How long nothing is counted, and how long it is then. */
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** What came of the operations that were offered while it was counted. */
export interface OpenLoopResult {
  readonly offeredPerSecond: number;
  readonly decidedPerSecond: number;
  /** Not sent, because the streams held as many as they may: what the mesh holds back. */
  readonly heldBackPerSecond: number;
  /** Answered with an error, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Operations in one message, and undecided on one stream: what a node takes of one. */
const MESSAGE_OPERATIONS = 64;
const STREAM_OPERATIONS = 4_096;
/** How often what is due is sent, ms. */
const BEAT_MS = 5;

/** Offers operations from a process of its own, and answers what came of them. */
export async function openLoop(spec: OpenLoopSpec): Promise<OpenLoopResult> {
  const child = fork(join(import.meta.dirname, "open-loop-child.ts"), { execPath: nodeProgram(), execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  try {
    child.send(spec);
    const [result] = (await Promise.race([once(child, "message"), once(child, "exit").then(([code]) => Promise.reject(new Error(`the load ended with ${String(code)}`)))])) as [OpenLoopResult];
    return result;
  } finally {
    child.kill("SIGKILL");
  }
}

class Lane {
  readonly #stream: ReturnType<ConsistencyServiceClient["executeStream"]>;
  readonly #sent = new Map<string, number>();

  constructor(client: ConsistencyServiceClient, took: (sentMs: number, refusal: string | undefined) => void) {
    this.#stream = client.executeStream();
    this.#stream.on("data", ({ results }: ExecuteStreamResponse) => {
      for (const { operationId, result } of results) {
        const sentMs = this.#sent.get(operationId) ?? 0;
        this.#sent.delete(operationId);
        took(sentMs, result?.$case === "error" ? result.value.reason : undefined);
      }
    });
    // A stream that breaks answers nothing more: what is due for it counts as held back.
    this.#stream.on("error", () => undefined);
  }

  get room(): number {
    return STREAM_OPERATIONS - this.#sent.size;
  }

  send(operations: Operation[], nowMs: number): void {
    for (const { operationId } of operations) this.#sent.set(operationId, nowMs);
    this.#stream.write({ operations });
  }
}

/** In the process of its own. */
export async function offerAll({ targets, serverId, perSecond, streams, warmUpSeconds, seconds }: OpenLoopSpec): Promise<OpenLoopResult> {
  const mix = new OperationMix(serverId);
  const histogram = build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
  const beginMs = performance.now() + warmUpSeconds * 1_000;
  const endMs = beginMs + seconds * 1_000;
  const refused: Record<string, number> = {};
  let decided = 0;
  const took = (sentMs: number, refusal: string | undefined): void => {
    const nowMs = performance.now();
    if (nowMs < beginMs || nowMs > endMs) return;
    if (refusal !== undefined) {
      refused[refusal] = (refused[refusal] ?? 0) + 1;
      return;
    }
    decided++;
    histogram.recordValue(Math.max(1, Math.round((nowMs - sentMs) * 1_000)));
  };
  const clients = targets.flatMap(({ address, regions }) => Array.from({ length: streams }, () => ({ client: new ConsistencyServiceClient(address, credentials.createInsecure(), clientOptions({ ownConnection: true })), regions })));
  const lanes = clients.map(({ client, regions }) => ({ lane: new Lane(client, took), regions }));
  let offered = 0;
  let counted = 0;
  let heldBack = 0;
  let next = 0;
  const startMs = performance.now();
  for (let nowMs = startMs; nowMs < endMs; nowMs = performance.now()) {
    const due = Math.floor(((nowMs - startMs) * perSecond) / 1_000) - offered;
    for (let left = due; left > 0; left -= MESSAGE_OPERATIONS) {
      const chosen = lanes[next++ % lanes.length];
      const count = Math.min(left, MESSAGE_OPERATIONS);
      const isCounted = nowMs >= beginMs;
      offered += count;
      if (isCounted) counted += count;
      if (chosen === undefined || chosen.lane.room < count) {
        if (isCounted) heldBack += count;
        continue;
      }
      chosen.lane.send(Array.from({ length: count }, () => mix.next(chosen.regions)), nowMs);
    }
    await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
  }
  for (const { client } of clients) client.close();
  const ms = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1_000;
  return { offeredPerSecond: counted / seconds, decidedPerSecond: decided / seconds, heldBackPerSecond: heldBack / seconds, refused, p50Ms: ms(50), p99Ms: ms(99) };
}
