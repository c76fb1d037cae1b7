import { RaftMessageType } from "@statemesh/contract";
import type { RaftMessage } from "@statemesh/contract";

/**
 * The durability rule: whether a message may leave only after the Ready that it came with, and all
 * earlier ones, are durable.
 *
 * - A granted vote and an accepted append are promises: a crash must not make the sender forget them.
 * - A request for votes names the candidate's term, its vote for itself and its last entry. Sent earlier,
 *   a crash could bring the candidate back in the same term with a shorter log, and the votes that were
 *   given to the longer log would count for it.
 *
 * Everything else promises nothing: pre-votes, refusals, heartbeats and their echoes. A leader's
 * appends go out while its own disk works; its own copy counts once it is durable.
 */
export function waitsForDurability(message: RaftMessage): boolean {
  switch (message.type) {
    case RaftMessageType.VOTE:
      return true;
    case RaftMessageType.VOTE_RESPONSE:
    case RaftMessageType.APPEND_RESPONSE:
      return !message.reject;
    default:
      return false;
  }
}
