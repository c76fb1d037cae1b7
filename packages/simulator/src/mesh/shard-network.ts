// The way from shards to nodes: a call has a deadline, a node that dies answers none, and a way may be cut.
import type { AuthorityNode, NodeRuntime } from "@statemesh/node";
import type { Timers } from "@statemesh/ports";
import type { MeshNode } from "@statemesh/mesh";
import { MeshError } from "@statemesh/contract";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { SimMachine } from "./sim-machine.ts";

/** A node as it answers a shard. */
export interface AnsweringNode {
  readonly mesh: MeshNode;
  readonly runtime: NodeRuntime;
  readonly timers: Timers;
  readonly authority: AuthorityNode;
}

export class ShardNetwork {
  readonly #simulation: Simulation;
  readonly #random: SimRandom;
  readonly #machines: ReadonlyMap<number, SimMachine>;
  readonly #leaseMs: number;
  readonly #registrationTtlMs: number;
  /** Nodes that shards do not reach. */
  readonly cut = new Set<number>();
  /** Calls that wait for a node's process. */
  readonly #open = new Map<NodeRuntime, Set<() => void>>();

  constructor(simulation: Simulation, machines: ReadonlyMap<number, SimMachine>, leaseMs: number, registrationTtlMs: number) {
    this.#simulation = simulation;
    this.#random = simulation.random.fork();
    this.#machines = machines;
    this.#leaseMs = leaseMs;
    this.#registrationTtlMs = registrationTtlMs;
  }

  /** `answered` is called once: with what the node said, or with the reason of a failure. */
  ask<Response>(
    nodeId: number,
    timeoutMs: number,
    work: (node: AnsweringNode, deadlineMs: number, done: (response: Response) => void, fail: (reason: unknown) => void) => void,
    answered: (response: Response | undefined, reason: string | undefined) => void,
  ): void {
    let open = true;
    let forget = (): void => undefined;
    const finish = (response: Response | undefined, reason: string | undefined): void => {
      if (!open) return;
      open = false;
      forget();
      cancel();
      answered(response, reason);
    };
    const cancel = this.#simulation.after(timeoutMs, () => finish(undefined, "OUTCOME_UNKNOWN"));
    this.#simulation.after(this.#delayMs(), () => {
      const machine = this.#machines.get(nodeId);
      const runtime = machine?.runtime;
      if (machine === undefined || runtime === undefined) return finish(undefined, "UNREACHABLE");
      if (this.cut.has(nodeId)) return;
      const lost = (): void => finish(undefined, "OUTCOME_UNKNOWN");
      const calls = this.#open.get(runtime) ?? new Set();
      this.#open.set(runtime, calls);
      calls.add(lost);
      forget = () => calls.delete(lost);
      const back = (run: () => void): void => {
        this.#simulation.after(this.#delayMs(), () => {
          if (!this.cut.has(nodeId)) run();
        });
      };
      machine.gate.enter(() => {
        const mesh = runtime.mesh;
        const authority: AuthorityNode = { mesh, leaseMs: this.#leaseMs, registrationTtlMs: this.#registrationTtlMs, timers: machine.timers, grantsNeedStore: true, clientAddressOf: (id) => runtime.clientAddressOf(id) };
        const failed = (error: unknown): void => {
          const reason = typeof error === "string" ? error : MeshError.from(error).reason;
          back(() => finish(undefined, reason));
        };
        try {
          work({ mesh, runtime, timers: machine.timers, authority }, mesh.host.clock.monotonicMs() + timeoutMs, (response) => back(() => finish(response, undefined)), failed);
        } catch (error) {
          failed(error);
        }
      });
    });
  }

  /** A node's process ended: the calls that it had not answered are lost. */
  ended(runtime: NodeRuntime): void {
    const calls = this.#open.get(runtime);
    this.#open.delete(runtime);
    for (const lost of calls ?? []) this.#simulation.after(1, lost);
  }

  #delayMs(): number {
    return 0.2 + this.#random.next();
  }
}
