// Tells every arbiter whom this node hears, and takes in what others told it: an arbiter may reach both sides of a split.
import { recordOf } from "@statemesh/replica";
import type { Heartbeat, ReportHeartbeatsRequest } from "@statemesh/contract";
import type { MeshNode } from "@statemesh/mesh";
import { DIRECTORY_GROUP } from "@statemesh/world";
import type { ArbiterPort } from "./node-ports.ts";

export class ArbiterReports {
  readonly #ports: readonly ArbiterPort[];
  readonly #mesh: MeshNode;
  readonly #clusterId: string;
  /** Arbiters that have not answered the last report: they get no other one meanwhile. */
  readonly #asked = new Set<ArbiterPort>();

  constructor(ports: readonly ArbiterPort[], mesh: MeshNode, clusterId: string) {
    this.#ports = ports;
    this.#mesh = mesh;
    this.#clusterId = clusterId;
  }

  send(heartbeats: readonly Heartbeat[]): void {
    const { views } = this.#mesh;
    let request: ReportHeartbeatsRequest | undefined;
    for (const port of this.#ports) {
      if (port.report === undefined || this.#asked.has(port)) continue;
      this.#asked.add(port);
      port.report((request ??= this.#request(heartbeats)), views.times.suspicionMs, (response) => {
        this.#asked.delete(port);
        // One that is cut off changes nothing: nodes hear one another without.
        if (response !== undefined) views.onHeartbeats(0, response.heartbeats);
      });
    }
  }

  #request(heartbeats: readonly Heartbeat[]): ReportHeartbeatsRequest {
    const { views, nodeId } = this.#mesh;
    const { core, state } = this.#mesh.group(DIRECTORY_GROUP);
    const { heartbeatMs: beatMs, suspicionMs, removalMs } = views.times;
    const { voters, outgoing } = core.configuration;
    return {
      clusterId: this.#clusterId, nodeId, heartbeats: [...heartbeats], members: [...views.members], voters: [...voters], outgoing: [...outgoing], directoryIndex: state.appliedIndex,
      view: recordOf(views.view), beatMs, suspicionMs, removalMs,
    };
  }
}
