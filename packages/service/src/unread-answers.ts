// Answers that their callers do not read stay in the memory of the server. Who leaves many there is answered no more until it has read some: it would
// have the memory of all others.
import { MeshError } from "@statemesh/contract";

/**
 * Bytes of answers that wait for one connection, and for all, about. Beyond it calls of the connection, or of all that have any unread, get
 * OVERLOADED.
 */
export const UNREAD_BYTES_CONNECTION = 32 * 1024 * 1024;
export const UNREAD_BYTES = 256 * 1024 * 1024;
/** Smaller answers are not counted: they are most, and as many as a connection may have open are little. */
const COUNTED_BYTES = 4_096;
const RETRY_MS = 500;

export class UnreadAnswers {
  readonly #byPeer = new Map<string, number>();
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** An answer was given; undefined, or what to call once the call has ended. */
  answered(peer: () => string, bytes: number): (() => void) | undefined {
    if (bytes < COUNTED_BYTES) return undefined;
    const key = peer();
    this.#add(key, bytes);
    return () => this.#add(key, -bytes);
  }

  #add(key: string, bytes: number): void {
    this.#bytes += bytes;
    const left = (this.#byPeer.get(key) ?? 0) + bytes;
    if (left > 0) this.#byPeer.set(key, left);
    else this.#byPeer.delete(key);
  }

  /** What stands against another call of the connection. */
  refusal(peer: () => string): MeshError | undefined {
    if (this.#bytes === 0) return undefined;
    const own = this.#byPeer.get(peer()) ?? 0;
    if (own === 0 || (own < UNREAD_BYTES_CONNECTION && this.#bytes < UNREAD_BYTES)) return undefined;
    return new MeshError("OVERLOADED", `${own} bytes of answers wait to be read by this connection, and ${this.#bytes} by all: read them first`, { retryDelayMs: RETRY_MS });
  }
}
