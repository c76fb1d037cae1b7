// A virtual cluster with what a test does with escrows.
import { type CloseEscrowResponse, type Escrow, type MeshError, type Operation, Outcome, type SpendEscrowRequest, type SpendEscrowResponse } from "@statemesh/contract";
import { ESCROW_VERSION } from "@statemesh/replica";
import { expect } from "vitest";
import { conservationOf } from "../src/index.ts";
import { mint, open } from "./operations.ts";
import { isDecision, VirtualCluster } from "./virtual-cluster.ts";

export const CERTAIN_MS = 2_000;
export const SERVER = 1;

export type Answer<Response> = { readonly response: Response | undefined; readonly error: MeshError | undefined };

export class Bench extends VirtualCluster {
  readonly region = this.regionIn(1);

  constructor(options: ConstructorParameters<typeof VirtualCluster>[0] = {}) {
    super({ nodes: 3, groups: 1, ...options });
    this.settle();
    this.register(1, 2);
    if (!this.runUntil(() => this.members.every((id) => this.node(id).membership.version >= ESCROW_VERSION))) throw new Error("the cluster does not come to the version that has escrows");
    this.ask(mint("m", SERVER, this.region, "ann", "gold", 100));
  }

  ask(operation: Operation, nodeId = 1): void {
    const answer = this.execute(nodeId, [operation]).get(operation.operationId);
    if (!isDecision(answer) || answer.outcome !== Outcome.ACCEPTED) throw new Error(`not accepted: ${JSON.stringify(answer)}`);
  }

  /** Opens one with a node that does not lead, and waits until that node has it. */
  opened(escrowId: string, nodeId: number, quantity = 50, fields: Partial<{ expiresMs: number }> = {}): void {
    this.ask(open(`open-${escrowId}`, SERVER, this.region, escrowId, "ann", "gold", quantity, nodeId, fields.expiresMs ?? this.nowMs + 3_600_000));
    if (!this.runUntil(() => this.node(nodeId).escrows.size > 0)) throw new Error("the node does not take its escrow on");
    this.run(200);
  }

  trySpend(nodeId: number, operationId: string, escrowId: string, quantity: number, fields: Partial<SpendEscrowRequest> = {}): Answer<SpendEscrowResponse> | undefined {
    let answer: Answer<SpendEscrowResponse> | undefined;
    const request = { operationId, serverId: SERVER, region: this.region, escrowId, quantity, toPlayerId: "bob", timestampMs: Math.floor(this.nowMs), ...fields };
    this.node(nodeId).escrows.spend(request, this.nowMs + 900, (response, error) => (answer = { response, error }));
    this.runUntil(() => answer !== undefined, 1_000);
    return answer;
  }

  spend(...args: Parameters<Bench["trySpend"]>): SpendEscrowResponse {
    const answer = this.trySpend(...args);
    if (answer?.response === undefined) throw answer?.error ?? new Error("no answer");
    return answer.response;
  }

  refused(...args: Parameters<Bench["trySpend"]>): string {
    return this.trySpend(...args)?.error?.reason ?? "nothing";
  }

  close(nodeId: number, escrowId: string, deadlineMs = 5_000): Escrow {
    let answer: Answer<CloseEscrowResponse> | undefined;
    this.node(nodeId).escrows.close({ serverId: SERVER, region: this.region, escrowId }, this.nowMs + deadlineMs, (response, error) => (answer = { response, error }));
    this.runUntil(() => answer !== undefined, deadlineMs + 1_000);
    if (answer?.response?.escrow === undefined) throw answer?.error ?? new Error("no answer");
    return answer.response.escrow;
  }

  listed(nodeId: number): Escrow[] {
    let escrows: Escrow[] = [];
    this.node(nodeId).escrows.list({ region: this.region, escrowId: "", serverId: 0, playerId: "", includeClosed: true, stale: true, pageSize: 0, pageToken: "" }, 0, (response) => (escrows = response?.escrows ?? []));
    return escrows;
  }

  balance(nodeId: number, player: string): number {
    return this.node(nodeId).group(1).state.ledger.balance(`player:${player}`, "gold");
  }

  proves(): void {
    for (const nodeId of this.members) {
      if (!this.isUp(nodeId)) continue;
      const { items, addsUp } = conservationOf(this.node(nodeId).groups.map(({ state }) => state));
      expect(addsUp, JSON.stringify(items)).toBe(true);
    }
  }

  cutOff(nodeId: number): void {
    this.cut([nodeId], this.members.filter((id) => id !== nodeId));
    this.run(CERTAIN_MS);
  }

  /** A node that leads nothing. */
  get follower(): number {
    return this.members.find((id) => id !== this.leaderOf(0) && id !== this.leaderOf(1)) ?? 0;
  }
}
