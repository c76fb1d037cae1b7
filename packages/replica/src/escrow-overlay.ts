import type { DecidedOperation } from "@statemesh/contract/log";
import { ESCROWS_OF_GROUP, ESCROWS_OF_NODE, ESCROWS_OF_PLAYER, ESCROWS_OF_SERVER, type EscrowTable } from "./escrow-table.ts";

/** Escrows as they will be once what is decided so far is applied. */
export class EscrowOverlay {
  readonly #table: EscrowTable;
  readonly #opened: { readonly escrowId: string; readonly spenderServerId: number; readonly playerId: string; readonly nodeId: number }[] = [];

  constructor(table: EscrowTable) {
    this.#table = table;
  }

  isUsed(escrowId: string): boolean {
    return this.#table.find(escrowId) !== undefined || this.#opened.some((row) => row.escrowId === escrowId);
  }

  /** As many are open as may be. */
  isFull(serverId: number, playerId: string, nodeId: number): boolean {
    const opened = (counts: (row: { readonly spenderServerId: number; readonly playerId: string; readonly nodeId: number }) => boolean): number => this.#opened.filter(counts).length;
    return (
      this.#table.size + this.#opened.length >= ESCROWS_OF_GROUP ||
      this.#table.count("server", serverId) + opened((row) => row.spenderServerId === serverId) >= ESCROWS_OF_SERVER ||
      this.#table.count("player", playerId) + opened((row) => row.playerId === playerId) >= ESCROWS_OF_PLAYER ||
      this.#table.count("node", nodeId) + opened((row) => row.nodeId === nodeId) >= ESCROWS_OF_NODE
    );
  }

  add({ effects }: DecidedOperation): void {
    for (const { effect } of effects) if (effect?.$case === "escrow") this.#opened.push(effect.value);
  }
}
