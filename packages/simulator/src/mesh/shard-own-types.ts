// What a game shard does with types of a studio's own: writes and removes entities of the strong ones, sends updates to those that
// merge, and names what to publish.
import type { Footprint, Operation, Region } from "@statemesh/contract";
import type { MergeSpec } from "@statemesh/merge";
import type { OperationType, Policy } from "@statemesh/world";
import type { SimRandom } from "../sim-random.ts";

interface Asked {
  readonly type: string;
  readonly body: NonNullable<Operation["body"]>;
  readonly footprint: Footprint | undefined;
}

type Plain = number | string | readonly Plain[] | { readonly [name: string]: Plain };

/** Additions to sets that a shard remembers, so as to remove what it saw. */
const TAGS_MAX = 64;
/** Entities of one type in a region, and names for footprints: few, so that they meet. */
const NAMES_MAX = 4;
const WORDS = ["axe", "bow", "cup"] as const;
const NOTHING = new Uint8Array(0);

export class ShardOwnTypes {
  readonly #random: SimRandom;
  readonly #share: number;
  readonly #names: number;
  readonly #borders: number;
  readonly #strong: readonly OperationType[];
  readonly #eventual: readonly OperationType[];
  readonly #causal: readonly OperationType[];
  /** Where, which member, and the operation that added it. */
  readonly #added: { readonly path: string; readonly member: string; readonly tag: string }[] = [];

  /** `share`: of all operations, and of all that is published; 0: nothing is of an own type. */
  constructor(random: SimRandom, policy: Policy, share: number, { names, borders }: { readonly names: number; readonly borders: number }) {
    this.#random = random;
    this.#share = share;
    this.#names = Math.min(names, NAMES_MAX);
    this.#borders = borders;
    const own = share === 0 ? [] : policy.types().filter(({ builtIn }) => !builtIn);
    this.#strong = own.filter(({ consistency }) => consistency === "strong");
    this.#eventual = own.filter(({ consistency }) => consistency === "eventual");
    this.#causal = own.filter(({ consistency }) => consistency === "causal");
  }

  /** Undefined: it is to be of a built-in type. */
  operation(region: Region, operationId: string): Asked | undefined {
    if (this.#strong.length === 0 || !this.#random.chance(this.#share)) return undefined;
    const type = this.#random.pick(this.#strong);
    const entityId = `${region.x}.${region.y}.${region.z}.${this.#random.between(1, this.#names)}`;
    const isMerging = type.stateMerge !== undefined;
    const isRemoval = this.#random.chance(isMerging ? 0.03 : 0.15);
    const state = isRemoval ? NOTHING : this.#state(type, `${type.name}/${entityId}`, operationId);
    const footprint = this.#random.chance(isMerging ? 0.1 : 0.5) ? this.#footprint(region) : undefined;
    return { type: type.name, body: { $case: "custom", value: { entityId, state, toRegion: undefined, expectation: 0, observedVersion: 0 } }, footprint };
  }

  /** The type of a value to publish. */
  eventual(): string {
    return this.#typeOr(this.#eventual, "creature_position");
  }

  /** The type of an event to publish. */
  causal(): string {
    return this.#typeOr(this.#causal, "event_sequence");
  }

  #typeOr(own: readonly OperationType[], otherwise: string): string {
    return own.length > 0 && this.#random.chance(this.#share) ? this.#random.pick(own).name : otherwise;
  }

  /** A name that all types of the group fight for, or a box, or both. */
  #footprint(region: Region): Footprint {
    const hasKey = this.#random.chance(0.6);
    const keys = hasKey ? [`own-${this.#random.between(1, this.#names)}`] : [];
    if (hasKey && this.#random.chance(0.7)) return { keys, regions: [], bounds: undefined };
    const at = this.#random.chance(this.#borders) ? this.#random.pick([-6, 1_996]) : this.#random.between(0, this.#names) * 8;
    const corner = { minX: region.x * 2_000 + at, minY: region.y * 2_000 + 40, minZ: region.z * 2_000 + 40 };
    return { keys, regions: [], bounds: { ...corner, maxX: corner.minX + 10, maxY: corner.minY + 4, maxZ: corner.minZ + 4 } };
  }

  #state({ stateMerge }: OperationType, path: string, operationId: string): Uint8Array {
    const text = stateMerge === undefined ? operationId : JSON.stringify(this.#update(stateMerge.spec, path, operationId));
    return new TextEncoder().encode(text);
  }

  #update(spec: MergeSpec, path: string, operationId: string): Plain {
    switch (spec) {
      case "counter":
        return { add: this.#random.between(-9, 9) };
      case "set":
        return this.#members(path, operationId);
      case "last_write_wins":
        return { value: operationId };
      case "terrain":
        return { edits: Array.from({ length: this.#random.between(1, 2) }, () => this.#edit()) };
      case "tree":
        return { moves: Array.from({ length: this.#random.between(1, 2) }, () => ({ child: this.#random.pick(WORDS), parent: this.#random.pick(["", ...WORDS]) })) };
      default: {
        const fields = [...spec].filter(() => this.#random.chance(0.5));
        const some = fields.length > 0 ? fields : [this.#random.pick([...spec])];
        return Object.fromEntries(some.map(([name, part]) => [name, this.#update(part, `${path}/${name}`, operationId)]));
      }
    }
  }

  /** Something is added, or what this shard added is taken away. */
  #members(path: string, tag: string): Plain {
    const seen = this.#added.filter((each) => each.path === path);
    if (seen.length > 0 && this.#random.chance(0.4)) {
      const { member, tag: taken } = this.#random.pick(seen);
      return { remove: { [member]: [taken] } };
    }
    const member = this.#random.pick(WORDS);
    this.#added.push({ path, member, tag });
    if (this.#added.length > TAGS_MAX) this.#added.shift();
    return { add: [member] };
  }

  #edit(): Plain {
    const at = this.#random.between(0, 6);
    const box = { min: [at, 0, 0], max: [at + this.#random.between(1, 3), 2, 2], layer: this.#random.between(0, 1) };
    return this.#random.chance(0.5) ? { mode: "dig", ...box } : { mode: "fill", material: this.#random.pick(["stone", "sand"]), ...box };
  }
}
