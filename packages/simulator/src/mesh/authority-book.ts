// Who owns which region, as group 0 committed it: its own account, kept from the events of the directory alone.
import { type AuthorityEvent, AuthorityEvent_Kind as Kind, HandoffPhase } from "@statemesh/contract";
import type { DirectoryChange } from "@statemesh/replica";
import type { Recorder } from "../recorder.ts";

interface Owner {
  readonly epoch: number;
  readonly serverId: number;
}

/** Kinds after which somebody else, or nobody, owns the region. */
const CHANGES: ReadonlySet<number> = new Set([Kind.GRANTED, Kind.RELEASED, Kind.EXPIRED, Kind.TAKEN_OVER, Kind.TRANSFERRED]);
const NOBODY: Owner = { epoch: 0, serverId: 0 };
const ENDED: ReadonlySet<number> = new Set([HandoffPhase.COMMITTED, HandoffPhase.ABORTED]);

export class AuthorityBook {
  readonly #recorder: Recorder;
  readonly #owners = new Map<string, Owner>();
  readonly #handoffs = new Map<string, HandoffPhase>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** Group 0 committed a command of the directory. */
  committed(index: number, { events }: DirectoryChange): void {
    for (const event of events) {
      this.#owned(index, event);
      this.#handed(index, event);
    }
  }

  /** Each change of an owner is told, follows the one before, and takes the next epoch. */
  #owned(index: number, { kind, authority, previousServerId, handoff }: AuthorityEvent): void {
    if (authority === undefined) return;
    const { regionText, epoch } = authority;
    const serverId = authority.owner?.serverId ?? 0;
    const before = this.#owners.get(regionText) ?? NOBODY;
    const what = `${regionText} at ${index} of group 0: server ${serverId} at epoch ${epoch}, before server ${before.serverId} at epoch ${before.epoch}`;
    const grown = serverId === 0 || !CHANGES.has(kind) ? epoch === before.epoch : epoch === before.epoch + 1;
    if (!grown) this.#recorder.violation("epochs only grow", `${what}, by an event of kind ${kind}`);
    if (!CHANGES.has(kind)) {
      if (serverId !== before.serverId) this.#recorder.violation("one owner", `${what}, and no event told of the change`);
      return;
    }
    if (previousServerId !== before.serverId) this.#recorder.violation("one owner", `${what}; the event says that it was server ${previousServerId}`);
    if (kind === Kind.TRANSFERRED && (handoff?.toServerId !== serverId || handoff.fromServerId !== before.serverId || handoff.epoch !== before.epoch)) {
      this.#recorder.violation("one owner", `${what}, by a handoff from server ${handoff?.fromServerId} at epoch ${handoff?.epoch} to server ${handoff?.toServerId}`);
    }
    this.#owners.set(regionText, { epoch, serverId });
    if (kind === Kind.TAKEN_OVER) this.#recorder.sometimes("backup took a region over");
    if (serverId !== 0 && before.serverId !== 0) this.#recorder.sometimes("region changed its owner");
    this.#recorder.note("owner", regionText, epoch, serverId);
  }

  /** A handoff goes from phase to phase, and ends once. */
  #handed(index: number, { handoff }: AuthorityEvent): void {
    if (handoff === undefined) return;
    const { handoffId, phase } = handoff;
    const before = this.#handoffs.get(handoffId) ?? HandoffPhase.UNSPECIFIED;
    const follows = ENDED.has(phase) ? before === HandoffPhase.PREPARED || before === HandoffPhase.ACCEPTED : phase === before + 1;
    if (!follows || (phase === HandoffPhase.COMMITTED && before !== HandoffPhase.ACCEPTED)) {
      this.#recorder.violation("a handoff ends once", `${handoffId} at ${index} of group 0: from phase ${before} to ${phase}`);
    }
    this.#handoffs.set(handoffId, phase);
    if (phase === HandoffPhase.COMMITTED) this.#recorder.sometimes("handoff committed");
    if (phase === HandoffPhase.ABORTED) this.#recorder.sometimes("handoff aborted");
  }
}
