// Operators who change the members, through the administration calls of some node: they ask again, elsewhere, where they got no
// answer, and after healing they see to it that every change ends and every lost node is replaced.
import { type Member, MemberChangeState } from "@statemesh/contract";
import { type AskedNode, type ChangeAnswer, addMember, cancelMemberChange, removeMember, replaceMember } from "@statemesh/node";
import type { Recorder } from "../recorder.ts";
import type { SimRandom } from "../sim-random.ts";
import type { Simulation } from "../simulation.ts";
import type { MemberBook } from "./member-book.ts";
import type { ShardNetwork } from "./shard-network.ts";
import type { SimMachine } from "./sim-machine.ts";
import type { SimWire } from "./sim-wire.ts";

/** How long an operator waits for an answer, pauses, and how often the operator asks. */
const CALL_MS = 3_000;
const PAUSE_MS = 500;
const ATTEMPTS = 12;
/** How often the members are looked at after healing. */
const LOOK_MS = 500;
/** Refusals that asking again does not change. */
const FINAL: ReadonlySet<string> = new Set(["UNKNOWN_MEMBER", "MEMBER_EXISTS", "MEMBER_ID_USED", "LAST_MEMBER", "TOO_MANY_MEMBERS", "CHANGE_DONE", "NOT_FOUND", "REQUEST_ID_REUSED"]);

type Wish = (node: AskedNode, deadlineMs: number) => Promise<ChangeAnswer>;

export interface OperatorParts {
  readonly simulation: Simulation;
  readonly recorder: Recorder;
  readonly network: ShardNetwork;
  readonly wire: SimWire;
  readonly machines: ReadonlyMap<number, SimMachine>;
  readonly members: MemberBook;
}

export class SimOperator {
  readonly #parts: OperatorParts;
  readonly #random: SimRandom;
  #wishes = 0;
  #healing = false;
  #mending = false;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
    this.#random = parts.simulation.random.fork();
  }

  /** `named`: with a change id of the operator's own; else the cluster tells the same wish by what it is. */
  add(machine: SimMachine, named: boolean): void {
    const changeId = this.#changeId(named);
    this.#ask("add", async (node, deadlineMs) => addMember(node, { address: machine.address, nodeId: 0, changeId, dryRun: false }, deadlineMs));
  }

  remove(nodeId: number, named: boolean): void {
    const changeId = this.#changeId(named);
    this.#parts.members.leaving.add(nodeId);
    this.#ask("remove", async (node, deadlineMs) => removeMember(node, { nodeId, changeId, dryRun: false }, deadlineMs));
  }

  /** `by`: the machine that comes; undefined: the same machine, whose folder is new. */
  replace(nodeId: number, by: SimMachine | undefined, named: boolean): void {
    const changeId = this.#changeId(named);
    this.#parts.members.leaving.add(nodeId);
    this.#ask("replace", this.#replacement(nodeId, by, changeId));
  }

  cancel(changeId: string): void {
    this.#ask("cancel", this.#cancellation(changeId));
  }

  #replacement(nodeId: number, by: SimMachine | undefined, changeId: string): Wish {
    return async (node, deadlineMs) => replaceMember(node, { nodeId, address: by?.address ?? "", newNodeId: 0, changeId, dryRun: false }, deadlineMs);
  }

  #cancellation(changeId: string): Wish {
    return async (node, deadlineMs) => cancelMemberChange(node, { changeId, dryRun: false }, deadlineMs);
  }

  #changeId(named: boolean): string {
    return named ? `wish-${++this.#wishes}` : "";
  }

  #ask(what: string, wish: Wish, attempt = 1): void {
    if (this.#healing) return;
    this.#once(what, wish, (reason) => {
      if (reason === undefined || FINAL.has(reason) || attempt >= ATTEMPTS) return;
      this.#parts.simulation.after(PAUSE_MS, () => this.#ask(what, wish, attempt + 1));
    });
  }

  /** Asks some node once; `ended` gets why it was for nothing, or undefined. */
  #once(what: string, wish: Wish, ended: (reason: string | undefined) => void): void {
    const { network, wire, machines, members, recorder } = this.#parts;
    const up = [...machines.values()].filter((each) => each.runtime !== undefined);
    if (up.length === 0) return ended("UNREACHABLE");
    const machine = this.#random.pick(up);
    network.ask<ChangeAnswer>(
      machine.id,
      CALL_MS,
      ({ mesh, runtime }, deadlineMs, done, fail) => {
        const gate = machine.gate;
        const node: AskedNode = { mesh, runtime, identify: async (address) => wire.identify(machine.id, Number(address.split("-")[1]), gate) };
        wish(node, deadlineMs).then(done, fail);
      },
      (answer, reason) => {
        recorder.note("operator", what, machine.id, reason ?? answer?.change?.changeId ?? "");
        if (reason !== undefined && reason !== "OUTCOME_UNKNOWN" && reason !== "UNREACHABLE") recorder.sometimes(`operator refused with ${reason}`);
        const change = answer?.change;
        if (change !== undefined && members.record.change(change.changeId) === undefined) {
          recorder.violation("members on record", `change ${change.changeId} was acknowledged and is not on record`);
        }
        ended(reason);
      },
    );
  }

  /** From now on nothing new is wished; changes are brought to their end, and lost nodes are replaced. */
  mend(): void {
    this.#healing = true;
    this.#look();
  }

  #look(): void {
    this.#parts.simulation.after(LOOK_MS, () => {
      this.#retireRemoved();
      const wish = this.#needed();
      if (wish !== undefined && !this.#mending) {
        this.#mending = true;
        this.#once("mend", wish, () => {
          this.#mending = false;
        });
      }
      this.#look();
    });
  }

  /** Who was removed is switched off, or set up anew where a lost member is to be replaced by it. */
  #retireRemoved(): void {
    const { machines, members, simulation } = this.#parts;
    for (const machine of machines.values()) {
      const { runtime, address } = machine;
      if (runtime === undefined || !members.removed.has(machine.nodeId)) continue;
      if (members.record.members().some((member) => member.address === address)) {
        // What it holds as a copy under its old name does not keep it from a new place.
        if (!runtime.founding.isFounded || members.lostMembers.every((member) => member.address !== address)) continue;
        members.lost.add(machine.nodeId);
        machine.reinstall();
        simulation.after(LOOK_MS, () => machine.start());
      } else {
        machine.supervised = false;
        machine.kill();
      }
    }
  }

  #needed(): Wish | undefined {
    const { record, lostMembers, lost } = this.#parts.members;
    const { running } = record;
    if (running !== undefined) {
      const stuck = running.state === MemberChangeState.RUNNING && running.added !== undefined && (lost.has(running.added.nodeId) || this.#isGone(running.added));
      return stuck ? this.#cancellation(running.changeId) : undefined;
    }
    const [gone] = lostMembers;
    return gone === undefined ? undefined : this.#replacement(gone.nodeId, undefined, "");
  }

  /** The machine that was to come was set up anew before it knew its place; of one that is down nobody knows. */
  #isGone({ address, folderId }: Member): boolean {
    const machine = [...this.#parts.machines.values()].find((each) => each.address === address);
    const found = machine?.identify();
    return found !== undefined && found.folderId !== folderId;
  }

  /** What is not yet as operators want it; undefined where nothing. */
  get unrest(): string | undefined {
    const { record, lostMembers } = this.#parts.members;
    const { running } = record;
    if (!record.isOnRecord) return `the members are not on record, at version ${record.version}`;
    if (running !== undefined) return `change ${running.changeId} has not ended`;
    if (lostMembers.length > 0) return `node ${lostMembers.map(({ nodeId }) => nodeId).join()} lost its data and is not replaced`;
    return undefined;
  }
}
