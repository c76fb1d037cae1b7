/** What a fault is: something that is done to a running mesh and taken back. Each kind is a file in `faults/`. */
import { readFileSync } from "node:fs";
import type { SimRandom } from "@statemesh/simulator";
import type { ServiceProcess } from "../service-process.ts";
import type { ChaosMesh } from "./chaos-mesh.ts";
import type { Need } from "./machine.ts";

/** One fault, with its targets. */
export interface Fault {
  /** What is done to whom, such as `kill -9 of node 3, which leads groups 1, 2`. */
  readonly what: string;
  /** Nodes that may not do their work until it is healed. */
  readonly disturbed: readonly number[];
  /** True: no majority works meanwhile, so that the mesh may stand still. */
  readonly outage?: boolean;
  inject(): Promise<void>;
  /** What shows that it took effect, asked for shortly before it is healed; undefined: nothing does. */
  evidence(): Promise<string | undefined>;
  heal(): Promise<void>;
}

/** What is known when a fault's targets are chosen. */
export interface Situation {
  readonly mesh: ChaosMesh;
  readonly random: SimRandom;
  /** Leader by group. */
  readonly leaders: ReadonlyMap<number, number>;
  /** Nodes that no other fault disturbs now, in random order. */
  readonly calm: readonly number[];
  /** How many more nodes may be disturbed while a majority is left. */
  readonly budget: number;
}

/** A kind of fault. */
export interface FaultKind {
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  readonly needs: readonly Need[];
  /** How long it lasts, seconds. */
  readonly seconds: readonly [min: number, max: number];
  /** True: no other fault at the same time. */
  readonly alone?: boolean;
  /** True: what it does stays, so it comes once, as the last fault of a run. */
  readonly lastly?: boolean;
  /** Undefined where it can't be done in this situation. */
  create(situation: Situation): Fault | undefined;
}

/** A node that leads a group, if one is calm, else any calm one. */
export function calmLeader(situation: Situation): number | undefined {
  const leading = new Set(situation.leaders.values());
  return situation.calm.find((id) => leading.has(id)) ?? situation.calm[0];
}

/** `node 3 (leads groups 1, 2)`. */
export function nameOf(id: number, leaders: ReadonlyMap<number, number>): string {
  const groups = [...leaders].filter(([, leader]) => leader === id).map(([group]) => group).sort((a, b) => a - b);
  return `node ${id}${groups.length === 0 ? "" : ` (leads group${groups.length === 1 ? "" : "s"} ${groups.join(", ")})`}`;
}

/** The network; kinds that use it need `namespaces`. */
export function networkOf(mesh: ChaosMesh): NonNullable<ChaosMesh["network"]> {
  if (mesh.network === undefined) throw new Error("a fault of the network without network namespaces");
  return mesh.network;
}

/** A process that starts on a busy machine takes its time until it says anything. */
const LOG_LIMIT_MS = 30_000;

/** Waits until a process has logged a text behind byte `from` of its log; false where it did not in time. */
export async function hasLogged(process: ServiceProcess, from: number, text: string): Promise<boolean> {
  const endMs = performance.now() + LOG_LIMIT_MS;
  while (!readFileSync(process.spec.logFile).subarray(from).includes(text)) {
    if (performance.now() > endMs) return false;
    await new Promise((wake) => setTimeout(wake, 100));
  }
  return true;
}
