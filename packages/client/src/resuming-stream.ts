/** Streams that continue where they were, on whatever node. */
import type { MeshError } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodeConnection, NodePool } from "./node-pool.ts";
import { type OpenedStream, ReopeningStream, type StreamLimits } from "./reopening-stream.ts";

/** What a stream goes on after. */
export interface Resumable {
  readonly resumeToken: string;
}

/** Opens the stream at a node, behind a token; empty: from the beginning. */
export type OpenStream<Message> = (node: NodeConnection, resumeToken: string) => OpenedStream<Message>;

/** A stream as ReopeningStream says, which continues after the last message that was taken; where that is too far back it begins anew. */
export class ResumingStream<Message extends Resumable> extends ReopeningStream<Message> {
  #token: string;

  constructor(pool: NodePool, options: CompiledClientOptions, open: OpenStream<Message>, resumeToken: string, limits: StreamLimits) {
    super(pool, options, (node) => open(node, this.#token), limits);
    this.#token = resumeToken;
  }

  /** Continues after the last message that was taken. */
  get resumeToken(): string {
    return this.#token;
  }

  /** The node is behind: continues at another one. */
  elsewhere(): void {
    this.moveOn();
  }

  protected override taken(message: Message): Message {
    this.#token = message.resumeToken;
    return message;
  }

  protected override beginsAnew(error: MeshError): boolean {
    if (error.reason !== "INVALID_RESUME_TOKEN" || this.#token === "") return false;
    this.#token = "";
    return true;
  }
}
