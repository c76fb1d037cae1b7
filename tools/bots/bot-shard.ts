/** A game shard that simulates bots: it owns regions, publishes where its players are, acts for them, and hands them on at borders. */
import { connect, type HeldLease, type MeshClient, type OperationStream, type RegionFollower } from "@statemesh/client";
import { type Decision, type Entity, MeshError, type Operation, Outcome, type Region } from "@statemesh/contract";
import { formatRegion, groupOf, regionOf, sameRegion } from "@statemesh/world";
import type { DemoRandom } from "../demo-random.ts";
import { patiently } from "../patiently.ts";
import { BotActs, type BotPlayer, isInForce } from "./bot-acts.ts";
import { type BooksPart, BotBooks, tallyIn } from "./bot-books.ts";
import { BotHearing } from "./bot-hearing.ts";
import { type BotShardReport, type BotShardSpec, handoffId, handoffOf, playerId, playerOf, wallMs } from "./bot-orders.ts";
import { BotPublisher } from "./bot-publisher.ts";
import { BotView } from "./bot-view.ts";
import { BotWorld } from "./bot-world.ts";

/** How long a shard waits for leases that an earlier run left. */
const LEASE_WAIT_MS = 30_000;
/** How often an operation is asked for whose outcome stays unknown. */
const ASKED_MAX = 4;
/** From one look for a lease to the next. */
const BORDER_WAIT_MS = 250;
/** Who can't appear for so long does not: the check of places says so. */
const APPEAR_MS = 60_000;

/** A player on its way over a border. */
interface Leaving {
  readonly player: BotPlayer;
  readonly operationId: string;
}

export class BotShard {
  readonly #books = new BotBooks();
  readonly #spec: BotShardSpec;
  readonly #serverId: number;
  readonly #world: BotWorld;
  readonly #client: MeshClient;
  readonly #stream: OperationStream;
  readonly #follower: RegionFollower;
  readonly #view: BotView;
  readonly #acts: BotActs;
  readonly #hearing: BotHearing;
  readonly #publisher: BotPublisher;
  readonly #players = new Map<number, BotPlayer>();
  readonly #leaving = new Map<number, Leaving>();
  /** Where in its group's log a player was handed on: what the log said of it before is old. */
  readonly #handedOn = new Map<number, { readonly groupId: number; readonly index: number }>();
  readonly #open = new Set<number>();
  #made = 0;
  #appearing = 0;
  #beganMs = 0;
  #beats: NodeJS.Timeout | undefined;
  #beat = 0;
  #resting = false;

  constructor(spec: BotShardSpec) {
    this.#spec = spec;
    this.#serverId = spec.serverIds[spec.number] ?? 0;
    this.#world = new BotWorld(spec.world);
    this.#client = connect({ endpoints: spec.endpoints, serverId: this.#serverId, name: `${spec.run}shard-${spec.number}` });
    this.#stream = this.#client.stream({ window: 4_096 });
    this.#view = new BotView(spec.run, this.#world.regionsOf(spec.number), (creature) => this.#onCreature(creature));
    this.#publisher = new BotPublisher(this.#client, this.#books, spec.hz);
    this.#acts = new BotActs({
      run: spec.run, make: this.#client.operations, view: this.#view,
      companionOf: (player, random) => this.#companionOf(player, random),
      decide: async (operation) => await this.#decide(operation),
      readHeld: async (player) => await this.#readHeld(player),
      newId: (what) => this.#newId(what),
    });
    this.#hearing = new BotHearing(this.#client, this.#view, this.#books, {
      run: spec.run, serverId: this.#serverId, regions: this.#world.surroundingsOf(spec.number),
      simulatesSince: (id) => this.#players.get(playerOf(spec.run, id) ?? -1)?.beganMs,
    });
    this.#client.authority.onLost((lease) => this.#onLost(lease));
    // Regions stay where they are, players go from shard to shard: what comes is a lease that this shard had lost and has again.
    this.#follower = this.#client.follow({
      load: async () => await Promise.resolve(),
      begin: () => undefined,
      drain: async () => await Promise.reject(new MeshError("OVERLOADED", "bots hand no regions over")),
      handedOver: (region) => this.#failed(`handed over ${formatRegion(region)}`, "NOT_ASKED_FOR"),
      resume: () => this.#failed("a region was to be handed over", "REFUSED"),
      failed: (_region, error) => this.#failed("following", error.reason),
    });
  }

  /** Registers, takes the leases of its regions, and listens to them and to those around. */
  async prepare(): Promise<void> {
    await patiently(LEASE_WAIT_MS, async () => await this.#client.authority.register());
    await Promise.all(this.#world.regionsOf(this.#spec.number).map(async (region) => await patiently(LEASE_WAIT_MS, async () => await this.#client.authority.acquire(region))));
    await this.#hearing.start();
  }

  /** Players that begin in its regions appear, and everything goes on from then. */
  play(beganMs: number, measureMs: number): void {
    this.#beganMs = beganMs;
    this.#hearing.measureFrom(measureMs);
    for (let number = 0; number < this.#spec.world.players; number++) {
      const region = this.#world.regionAt(number, 0);
      if (this.#world.shardOf(region) === this.#spec.number) void this.#appear(number, region);
    }
    this.#scheduleBeat();
  }

  /** Nobody crosses or acts any more; resolves once all of it is decided. */
  async rest(): Promise<void> {
    this.#resting = true;
    while (this.#appearing > 0 || this.#stream.undecided > 0 || [...this.#players.values()].some((player) => player.busy) || this.#leaving.size > 0) {
      await new Promise((wake) => setTimeout(wake, 10));
    }
  }

  /** What it counted since the last time. */
  takeBooks(): BooksPart {
    this.#publisher.count();
    return this.#books.take();
  }

  report(): BotShardReport {
    return { players: [...this.#players.keys()], open: [...this.#open], standing: [...this.#acts.standing], unsure: [...this.#acts.unsure] };
  }

  /** Ends. With `tidy` nothing of the players stays but what they made and used up. */
  async leave(tidy: boolean): Promise<void> {
    clearTimeout(this.#beats);
    if (tidy) await this.#tidyUp();
    await this.#publisher.close();
    await this.#hearing.stop();
    await Promise.all(this.#client.authority.leases.map(async (lease) => {
      // One that can't be given back runs out by itself.
      await this.#client.authority.release(lease, { deadlineMs: 2_000 }).catch((error: unknown) => this.#failed("release", MeshError.from(error).reason));
    }));
    this.#client.close();
  }

  // ---- players ----

  async #appear(number: number, region: Region): Promise<void> {
    const creatureId = playerId(this.#spec.run, number);
    this.#appearing += 1;
    for (const endMs = performance.now() + APPEAR_MS; performance.now() < endMs; await new Promise((wake) => setTimeout(wake, BORDER_WAIT_MS))) {
      const lease = this.#client.authority.leaseOf(region);
      if (lease !== undefined && isInForce(await this.#decide(this.#client.operations.creatureOwnership(lease, { creatureId })))) break;
    }
    this.#appearing -= 1;
  }

  /** The mesh shows a player in one of this shard's regions. */
  #onCreature(creature: Entity): void {
    const number = playerOf(this.#spec.run, creature.entityId);
    const { region } = creature;
    if (number === undefined || region === undefined || creature.serverId !== this.#serverId) return;
    const leaving = this.#leaving.get(number);
    if (leaving !== undefined && leaving.operationId !== creature.operationId) return;
    const handedOn = this.#handedOn.get(number);
    if (handedOn?.groupId === groupOf(region, this.#spec.groups) && creature.version < handedOn.index) return;
    if (this.#players.has(number)) return;
    const came = handoffOf(this.#spec.run, creature.operationId);
    const player: BotPlayer = {
      number, id: creature.entityId, region, beganMs: wallMs(), position: this.#world.positionOf(number, this.#seconds()), busy: false, held: new Map(), wish: this.#wishOf(number),
    };
    this.#players.set(number, player);
    this.#open.delete(number);
    this.#books.counts.players = this.#players.size;
    if (came === undefined) return this.#equip(player);
    if (came.shard !== this.#spec.number) {
      this.#books.counts.handoffs += 1;
      this.#books.took("handoff", wallMs() - came.sentMs);
    }
    player.busy = true;
    void this.#readHeld(player).finally(() => (player.busy = false));
  }

  #equip(player: BotPlayer): void {
    const lease = this.#client.authority.leaseOf(player.region);
    if (this.#spec.world.walk && !this.#resting && lease !== undefined) void this.#acts.equip(player, lease);
  }

  /** A player has walked out of its region: it is handed to who owns the one where it is. */
  async #cross(player: BotPlayer, toRegion: Region): Promise<void> {
    const lease = this.#client.authority.leaseOf(player.region);
    const owner = this.#client.authority.leaseOf(toRegion) === undefined ? this.#follower.ownerOf(toRegion)?.owner?.serverId : this.#serverId;
    player.busy = true;
    try {
      if (lease === undefined || owner === undefined) return await this.#waitAtBorder();
      if (groupOf(player.region, this.#spec.groups) !== groupOf(toRegion, this.#spec.groups)) await this.#acts.carryOver(player, lease, toRegion);
      if (this.#resting || !lease.held) return;
      const operationId = handoffId(this.#spec.run, this.#spec.number, ++this.#made, wallMs());
      const leaving: Leaving = { player, operationId };
      // From here on the other side may go on with it: nothing of it is done here any more.
      this.#leaving.set(player.number, leaving);
      this.#players.delete(player.number);
      await this.#handOn(leaving, this.#client.operations.creatureHandoff(lease, { creatureId: player.id, toServerId: owner, toRegion }, { operationId }));
    } finally {
      player.busy = false;
      this.#books.counts.players = this.#players.size;
    }
  }

  /** Nobody has the region there, or this shard has lost the one here. */
  async #waitAtBorder(): Promise<void> {
    this.#failed("crossing", "NO_OWNER");
    await new Promise((wake) => setTimeout(wake, BORDER_WAIT_MS));
  }

  async #handOn(leaving: Leaving, operation: Operation): Promise<void> {
    const { player } = leaving;
    let error: MeshError | undefined;
    const decision = await this.#decide(operation, (failed) => (error = failed));
    if (this.#leaving.get(player.number) === leaving) this.#leaving.delete(player.number);
    if (isInForce(decision)) {
      this.#books.counts.crossings += 1;
      const { position } = decision ?? {};
      if (position !== undefined) this.#handedOn.set(player.number, position);
      this.#publisher.leave(player.id, player.region);
    } else if (decision === undefined && error?.reason === "OUTCOME_UNKNOWN") this.#open.add(player.number);
    else this.#players.set(player.number, { ...player, beganMs: wallMs(), busy: false });
  }

  #companionOf(player: BotPlayer, random: DemoRandom): BotPlayer | undefined {
    return random.pick([...this.#players.values()].filter((other) => other !== player && !other.busy && sameRegion(other.region, player.region)));
  }

  async #readHeld(player: BotPlayer): Promise<void> {
    try {
      const { balances } = await this.#client.read({ region: player.region, accounts: [player.id] });
      player.held = new Map(balances.filter(({ quantity }) => quantity > 0).map(({ itemKind, quantity }) => [itemKind, quantity]));
    } catch (thrown) {
      player.held = new Map();
      this.#failed("read", MeshError.from(thrown).reason);
    }
  }

  // ---- time ----

  #seconds(): number {
    return Math.max(0, (wallMs() - this.#beganMs) / 1_000);
  }

  #wishOf(number: number): number {
    return this.#world.wishesOf(number, this.#seconds(), this.#spec.acts);
  }

  #scheduleBeat(): void {
    const periodMs = 1_000 / this.#spec.hz;
    const dueMs = this.#beganMs + this.#beat * periodMs;
    this.#beats = setTimeout(() => {
      const late = Math.floor((wallMs() - dueMs) / periodMs);
      if (late > 0) this.#books.counts.beatsLate += late;
      this.#beat += 1 + Math.max(0, late);
      this.#scheduleBeat();
      this.#onBeat();
    }, Math.max(0, dueMs - wallMs()));
  }

  #onBeat(): void {
    this.#books.counts.beats += 1;
    const seconds = this.#seconds();
    const sentMs = wallMs();
    for (const player of this.#players.values()) {
      player.position = this.#world.positionOf(player.number, seconds);
      this.#publisher.at(player.id, player.region, player.position, sentMs);
    }
    this.#publisher.beat();
    if (this.#spec.world.walk && !this.#resting) for (const player of [...this.#players.values()]) this.#think(player);
  }

  #think(player: BotPlayer): void {
    if (player.busy) return;
    const here = regionOf(player.position);
    if (!sameRegion(here, player.region)) return void this.#cross(player, here);
    const wish = this.#wishOf(player.number);
    const lease = this.#client.authority.leaseOf(player.region);
    if (wish === player.wish || lease === undefined) return;
    player.wish = wish;
    void this.#acts.act(player, lease, this.#world.randomOf(player.number, -3 - wish));
  }

  // ---- calls ----

  #newId(what: string): string {
    return `${this.#spec.run}${what}${this.#spec.number}.${++this.#made}`;
  }

  /** Decides an operation and counts what became of it. `failed` hears why there is no decision. Never rejects. */
  async #decide(operation: Operation, failed?: (error: MeshError) => void): Promise<Decision | undefined> {
    const { counts } = this.#books;
    const sentMs = performance.now();
    for (let asked = 1; ; asked++) {
      try {
        const decision = await this.#stream.execute(operation);
        this.#books.took("strong", performance.now() - sentMs);
        if (decision.outcome === Outcome.REJECTED) {
          counts.rejected += 1;
          tallyIn(this.#books.rejections, `${operation.type}: ${decision.reason}`);
        } else {
          counts[decision.outcome === Outcome.MERGED ? "merged" : "accepted"] += 1;
          tallyIn(this.#books.acts, operation.type);
        }
        return decision;
      } catch (thrown) {
        const error = MeshError.from(thrown);
        if (error.reason === "OUTCOME_UNKNOWN" && asked < ASKED_MAX) continue;
        if (error.reason === "OUTCOME_UNKNOWN") counts.unknown += 1;
        this.#failed(operation.type, error.reason);
        failed?.(error);
        return undefined;
      }
    }
  }

  #failed(what: string, reason: string): void {
    tallyIn(this.#books.errors, `${what}: ${reason}`);
  }

  #onLost(lease: HeldLease): void {
    this.#books.counts.leasesLost += 1;
    // A shard goes on: it asks for the region again, and writes under the new epoch.
    void patiently(LEASE_WAIT_MS, async () => await this.#client.authority.acquire(lease.region)).catch((error: unknown) => this.#failed("acquire", MeshError.from(error).reason));
  }

  async #tidyUp(): Promise<void> {
    const make = this.#client.operations;
    const removals: Operation[] = [];
    for (const { number, id, region } of this.#players.values()) {
      const lease = this.#client.authority.leaseOf(region);
      if (lease !== undefined) removals.push(make.creatureOwnership(lease, { creatureId: id, ownerServerId: 0 }));
      this.#players.delete(number);
      this.#publisher.leave(id, region);
    }
    const leases = new Map(this.#client.authority.leases.map((lease) => [formatRegion(lease.region), lease]));
    for (const { region, kind, id, player } of this.#view.all()) {
      const lease = leases.get(region);
      if (lease === undefined) continue;
      removals.push(kind === "structure" ? make.structureRemoval(lease, { structureId: id, playerId: player }) : make.resourceRelease(lease, { resourceId: id, playerId: player }));
    }
    await Promise.all(removals.map(async (operation) => await this.#decide(operation)));
  }
}
