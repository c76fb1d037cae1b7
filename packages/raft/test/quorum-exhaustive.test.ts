import { expect, test } from "vitest";
import { JointQuorum, MajorityQuorum, WeightedQuorum } from "../src/index.ts";
import type { Quorum } from "../src/index.ts";

/**
 * Not a sample: every configuration out of seven nodes, every way to part its members in two, every pair of configurations.
 * A set of nodes is a number: node n is bit n - 1. Where adding voters never takes a decision away, two deciding
 * sets that share nobody exist exactly where some set and all the others both decide: so that is what is looked for.
 */
const NODES = 7;
const SETS = 1 << NODES;
const EVERYBODY = SETS - 1;
const CONFIGURATIONS = Array.from({ length: EVERYBODY }, (_, n) => n + 1);

const membersOf = (set: number): number[] => Array.from({ length: NODES }, (_, n) => n + 1).filter((node) => holds(set, node));
const holds = (set: number, node: number): boolean => ((set >> (node - 1)) & 1) === 1;
const sizeOf = (set: number): number => membersOf(set).length;

/** For every set of nodes whether it decides. */
function decidingSets(quorum: Quorum): Uint8Array {
  const decides = new Uint8Array(SETS);
  for (let set = 0; set < SETS; set++) decides[set] = quorum.decides((voter) => holds(set, voter)) ? 1 : 0;
  return decides;
}

const weighted = new Map(CONFIGURATIONS.map((configuration) => [configuration, new WeightedQuorum(membersOf(configuration))]));
const deciding = new Map([...weighted].map(([configuration, quorum]) => [configuration, decidingSets(quorum)]));

function expectMonotone(decides: Uint8Array): void {
  for (let set = 0; set < SETS; set++) {
    if (decides[set] === 0) continue;
    for (let node = 0; node < NODES; node++) if (decides[set | (1 << node)] === 0) expect.fail(`${set} decides, with node ${node + 1} it does not`);
  }
}

test("of the two parts of a configuration never both decide, and always one does: on an even split the one with the lowest id", () => {
  let partitions = 0;
  let evenSplits = 0;
  for (const [configuration, decides] of deciding) {
    expectMonotone(decides);
    const lowest = membersOf(configuration)[0]!;
    for (let side = 0; side < SETS; side++) {
      if ((side & ~configuration) !== 0) continue;
      const other = configuration & ~side;
      partitions++;
      if (decides[side]! + decides[other]! !== 1) expect.fail(`of ${configuration}: ${side} and ${other}`);
      const [size, otherSize] = [sizeOf(side), sizeOf(other)];
      if (size === otherSize) evenSplits++;
      const expected = size > otherSize || (size === otherSize && holds(side, lowest));
      if ((decides[side] === 1) !== expected) expect.fail(`of ${configuration}: ${side}`);
    }
  }
  // 3^7 - 1 (each node in the one part, the other, or neither); the even splits of 2, 4 and 6 nodes.
  expect({ configurations: deciding.size, partitions, evenSplits }).toEqual({ configurations: 127, partitions: 2186, evenSplits: 21 * 2 + 35 * 6 + 7 * 20 });
});

test("a split into three parts leaves one side alive at most", () => {
  let splits = 0;
  for (const [configuration, decides] of deciding) {
    for (let one = configuration; one > 0; one = (one - 1) & configuration) {
      const rest = configuration & ~one;
      for (let two = rest; two > 0; two = (two - 1) & rest) {
        splits++;
        if (decides[one]! + decides[two]! + decides[rest & ~two]! > 1) expect.fail(`of ${configuration}: ${one}, ${two}, ${rest & ~two}`);
      }
    }
  }
  expect(splits).toBeGreaterThan(10_000);
});

test("a plain majority decides in a weighted quorum too, so both rules may be in use at once", () => {
  for (const [configuration, decides] of deciding) {
    const majority = decidingSets(new MajorityQuorum(membersOf(configuration)));
    for (let set = 0; set < SETS; set++) {
      if (majority[set] === 1 && decides[set] === 0) expect.fail(`${set} of ${configuration}`);
      if (majority[set] === 1 && decides[EVERYBODY & ~set] === 1) expect.fail(`${set} and all others, of ${configuration}`);
    }
  }
});

test("what decides while two configurations stand together meets every decision of the old one, of the new one, and its own", () => {
  let pairs = 0;
  let sets = 0;
  for (const [oldConfiguration, oldDecides] of deciding) {
    for (const [newConfiguration, newDecides] of deciding) {
      pairs++;
      const jointDecides = decidingSets(new JointQuorum(weighted.get(newConfiguration)!, weighted.get(oldConfiguration)!));
      for (let set = 0; set < SETS; set++) {
        if (jointDecides[set] === 0) continue;
        sets++;
        const others = EVERYBODY & ~set;
        if (oldDecides[others]! + newDecides[others]! + jointDecides[others]! > 0) expect.fail(`${oldConfiguration} to ${newConfiguration}: ${set} and ${others}`);
        for (let node = 0; node < NODES; node++) if (jointDecides[set | (1 << node)] === 0) expect.fail(`${set} decides, with node ${node + 1} it does not`);
      }
    }
  }
  expect(pairs).toBe(127 * 127);
  expect(sets).toBeGreaterThan(500_000);
});

test("voters never change without standing together: with even one more or less, old and new could decide apart", () => {
  const apart = (from: number, to: number): boolean => {
    for (let set = 0; set < SETS; set++) if (deciding.get(from)![set] === 1 && deciding.get(to)![EVERYBODY & ~set] === 1) return true;
    return false;
  };
  const set = (...nodes: number[]): number => nodes.reduce((sum, node) => sum | (1 << (node - 1)), 0);
  expect(apart(set(2, 3), set(1, 2, 3)), "2 decides of 2 and 3; 1 and 3 decide of 1, 2 and 3").toBe(true);
  expect(apart(set(1, 2, 3, 4), set(2, 3, 4)), "1 and 2 decide of four; 3 and 4 of the three others").toBe(true);
  expect(apart(set(1, 2, 3), set(1, 2, 3, 4)), "2 and 3 decide of three; 1 and 4 of four").toBe(true);
  expect(apart(set(1), set(1, 2)), "the one exception").toBe(false);
});
