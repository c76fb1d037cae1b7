// What callers were told, held against the committed log: an answer is in the log, at the place it names; what was
// answered before a call began is behind that call's own place; what was refused never happens.
import { type Decision, type Entity, MeshError, Outcome, type ReadResponse, type ReadSnapshotResponse } from "@statemesh/contract";
import type { Recorder } from "../recorder.ts";
import type { AskedRead, AskedSnapshot, AskedWrite, MeshRequests } from "./mesh-requests.ts";
import { type ReferenceGroup, entityKey } from "./reference-group.ts";

/** A strong operation of a caller, over all its tries. */
export interface OpenOperation {
  readonly operationId: string;
  readonly groupId: number;
  /** What was answered in the group before the first try. */
  readonly floor: number;
  tries: number;
  /** The request of which it is a part. */
  readonly asked: AskedWrite;
}

/** Errors that leave it open whether the operation was done. */
const OPEN_REASONS: ReadonlySet<string> = new Set(["OUTCOME_UNKNOWN", "INTERNAL", "UNREACHABLE"]);

/** What an answer is called in the summary. */
const OUTCOMES: Readonly<Record<number, string>> = { [Outcome.ACCEPTED]: "accepted", [Outcome.MERGED]: "merged", [Outcome.REJECTED]: "rejected" };

export class CallBook {
  readonly #recorder: Recorder;
  readonly #references: readonly ReferenceGroup[];
  readonly requests: MeshRequests;
  /** By group: the highest index that somebody was answered with. */
  readonly #answered: number[];
  readonly #refused = new Map<string, string>();
  /** Operations that a node said it keeps, and which node. */
  readonly #kept = new Map<string, { readonly groupId: number; readonly nodeId: number }>();
  acknowledged = 0;

  constructor(recorder: Recorder, references: readonly ReferenceGroup[], requests: MeshRequests) {
    this.#recorder = recorder;
    this.requests = requests;
    this.#references = references;
    this.#answered = references.map(() => 0);
  }

  floorOf(groupId: number): number {
    return this.#answered[groupId] ?? 0;
  }

  begin(operationId: string, groupId: number, asked: AskedWrite): OpenOperation {
    return { operationId, groupId, floor: this.floorOf(groupId), tries: 0, asked };
  }

  decided(operation: OpenOperation, decision: Decision): void {
    const { operationId, groupId, floor } = operation;
    this.#recorder.operations++;
    // Kept, and decided on the other side so long ago that nobody knows any more: whether it was done stays open.
    if (decision.reason === "DECISION_FORGOTTEN") return this.#recorder.sometimes("kept operation that may have been decided before");
    this.acknowledged++;
    this.#recorder.ofType(typeOf(operation), OUTCOMES[decision.outcome] ?? "answered");
    this.requests.decided(operation.asked, decision);
    const index = decision.position?.index ?? 0;
    // What a transaction across groups rejected stands in the log of the group that coordinated it.
    const decidedBy = decision.position?.groupId ?? groupId;
    const known = this.#references[decidedBy]?.decisions.get(operationId);
    if (decision.operationId !== operationId) return this.#fail("one decision for ever", `the answer to ${operationId} is about ${decision.operationId}`);
    if (known === undefined) return this.#fail("acknowledged is committed", `${operationId} was answered at ${index} of group ${groupId}, which nobody committed`);
    if (decidedBy !== groupId && decision.outcome !== Outcome.REJECTED) this.#fail("one decision for ever", `${operationId} took effect in group ${decidedBy}, its home is group ${groupId}`);
    if (known.index !== index || known.outcome !== decision.outcome || known.winnerOperationId !== decision.winnerOperationId) {
      this.#fail("one decision for ever", `${operationId} was answered as ${decision.outcome} at ${index}, the log has ${known.outcome} at ${known.index} of group ${groupId}`);
    }
    if (decidedBy === groupId && index <= floor) this.#fail("linearizable", `${operationId} began after ${floor} of group ${groupId} was answered, and took effect at ${index}`);
    this.#answered[decidedBy] = Math.max(this.floorOf(decidedBy), index);
    if (decision.repeated) this.#recorder.sometimes("decision repeated");
    this.#recorder.sometimes(decision.outcome === Outcome.REJECTED ? "operation rejected" : decision.outcome === Outcome.MERGED ? "operation merged" : "operation accepted");
  }

  /** A node that is cut off keeps the operation: it has to be decided in the end. */
  kept({ operationId, groupId }: OpenOperation, nodeId: number): void {
    this.#recorder.sometimes("operation kept while its node was cut off");
    this.#recorder.note("kept", operationId, nodeId);
    this.#kept.set(operationId, { groupId, nodeId });
  }

  /** True where the operation may still have been done, so that its id is asked for again. */
  failed(operation: OpenOperation, reason: string): boolean {
    if (OPEN_REASONS.has(reason)) return true;
    this.#recorder.note("refused", operation.operationId, reason);
    this.#recorder.sometimes(`answer ${reason}`);
    this.#recorder.ofType(typeOf(operation), `refused with ${reason}`);
    // After a try with an open end a refusal says nothing about that one.
    if (operation.tries === 1) {
      this.#refused.set(operation.operationId, reason);
      this.requests.refused(operation.asked);
    }
    return false;
  }

  read(groupId: number, floor: number, isFresh: boolean, sessionIndex: number, response: ReadResponse, asked: AskedRead | undefined): void {
    this.#recorder.operations++;
    if (asked !== undefined) this.requests.answered(asked, response);
    const index = response.position?.index ?? 0;
    const reference = this.#references[groupId];
    if (reference === undefined) return;
    if (isFresh && index < floor) this.#fail("linearizable", `a read that began after ${floor} of group ${groupId} was answered saw ${index}`);
    if (index < sessionIndex) this.#fail("session reads never go back", `a session that stood at ${sessionIndex} of group ${groupId} read ${index}`);
    if (index > reference.last) this.#fail("reads see what is committed", `a read saw ${index} of group ${groupId}, which nobody committed`);
    for (const entity of response.entities) this.#checkEntity(reference, entity, index);
    if (isFresh) this.#answered[groupId] = Math.max(this.floorOf(groupId), index);
  }

  /** `asked`: of each part its group, and what was answered there before the call began. */
  snapshot(parts: readonly { readonly groupId: number; readonly floor: number }[], response: ReadSnapshotResponse, asked: AskedSnapshot): void {
    this.#recorder.operations++;
    this.requests.snapshotAnswered(asked, response);
    for (const [at, { groupId, floor }] of parts.entries()) {
      const index = response.positions.find((position) => position.groupId === groupId)?.index ?? 0;
      const reference = this.#references[groupId];
      if (reference === undefined) continue;
      if (index < floor) this.#fail("linearizable", `a snapshot that began after ${floor} of group ${groupId} was answered saw ${index}`);
      if (index > reference.last) this.#fail("reads see what is committed", `a snapshot saw ${index} of group ${groupId}, which nobody committed`);
      for (const entity of response.parts[at]?.entities ?? []) this.#checkEntity(reference, entity, index);
      this.#answered[groupId] = Math.max(this.floorOf(groupId), index);
    }
  }

  /** What was read is what the log wrote last before the read's place. */
  #checkEntity(reference: ReferenceGroup, entity: Entity, index: number): void {
    const version = reference.versionAt(entityKey(entity), index);
    if (version === entity.version) return;
    this.#fail("reads see what is committed", `${entityKey(entity)} was read at version ${entity.version}, at ${index} of group ${reference.state.groupId} it stands at ${version}`);
  }

  /** What was kept is decided, and listed in a report. `isGone`: what the node had on disk was lost with it. */
  #checkKept(isGone: (nodeId: number) => boolean): void {
    for (const [operationId, { groupId, nodeId }] of this.#kept) {
      const reference = this.#references[groupId];
      if (reference === undefined || isGone(nodeId)) continue;
      const listed = reference.state.heals.find(operationId);
      if (listed !== undefined) this.#recorder.sometimes("kept operation listed in a heal report");
      if (listed === undefined) this.#fail("what was kept is answered", `${operationId} was kept by node ${nodeId}, and no heal report of group ${groupId} lists it`);
      else if (listed.operation?.outcome === Outcome.UNKNOWN ? listed.operation.reason !== "DECISION_FORGOTTEN" : listed.operation?.outcome === Outcome.REJECTED ? listed.operation.reason === "" && listed.operation.winnerOperationId === "" : !reference.decisions.has(operationId)) {
        this.#fail("what was kept is answered", `${operationId} was kept by node ${nodeId}; its heal report gives outcome ${listed.operation?.outcome} without a reason, or without a decision`);
      }
    }
  }

  /** At the end: nothing that was refused has happened, what was kept is decided, and what callers saw can be true. */
  checkFinal(isGone: (nodeId: number) => boolean): void {
    this.#checkKept(isGone);
    for (const [operationId, reason] of this.#refused) {
      for (const { decisions, state } of this.#references) {
        const known = decisions.get(operationId);
        if (known !== undefined) this.#fail("a refusal is one", `${operationId} was refused with ${reason}, and took effect at ${known.index} of group ${state.groupId}`);
      }
    }
    if (!this.#recorder.isOver) this.requests.check(this.#recorder);
  }

  #fail(kind: string, message: string): void {
    this.#recorder.violation(kind, message);
  }
}

function typeOf({ asked, operationId }: OpenOperation): string {
  return asked.operations.find((operation) => operation.operationId === operationId)?.type ?? "unknown";
}

/** The reason of any error that a node answers. */
export function reasonOf(error: unknown): string {
  return MeshError.from(error).reason;
}
