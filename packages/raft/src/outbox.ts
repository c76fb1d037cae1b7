import type { RaftMessage, RaftMessageType } from "@statemesh/contract";
import { waitsForDurability } from "./durability.ts";
import { makeMessage } from "./message.ts";

/** Messages on their way out of one replica. Every one passes here, so that none leaves before what it promises is durable. */
export class Outbox {
  readonly #groupId: number;
  readonly #from: number;
  /** The replica's term: what its messages carry. */
  term = 0;
  #messages: RaftMessage[] = [];
  #messagesAfterPersist: RaftMessage[] = [];

  constructor(groupId: number, from: number) {
    this.#groupId = groupId;
    this.#from = from;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0 && this.#messagesAfterPersist.length === 0;
  }

  /** A message of the replica's term, with everything else zero. */
  message(type: RaftMessageType, to: number): RaftMessage {
    return makeMessage(this.#groupId, type, this.#from, to, this.term);
  }

  send(message: RaftMessage): void {
    if (waitsForDurability(message)) this.#messagesAfterPersist.push(message);
    else this.#messages.push(message);
  }

  /** Takes everything. Every Ready has arrays of its own: what is said later never shows up in an earlier one. */
  take(): { messages: RaftMessage[]; messagesAfterPersist: RaftMessage[] } {
    const taken = { messages: this.#messages, messagesAfterPersist: this.#messagesAfterPersist };
    this.#messages = [];
    this.#messagesAfterPersist = [];
    return taken;
  }
}
