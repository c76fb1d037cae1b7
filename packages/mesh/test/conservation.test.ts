import { conservationOf, countedItems, differenceIn, FLOWS_MAX, flowsOf } from "@statemesh/mesh";
import { encodeSnapshot, GroupState, SnapshotLoader, WideCount } from "@statemesh/replica";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const OPTIONS = { decisionWindow: 8, touchCapacity: 64 };
const MAX = Number.MAX_SAFE_INTEGER;

function states(count: number): GroupState[] {
  return Array.from({ length: count }, (_, groupId) => new GroupState({ ...OPTIONS, groupId }));
}

describe("a wide count", () => {
  it("is exact whatever is added to it and taken away", () => {
    const summand = fc.oneof(fc.maxSafeInteger(), fc.constantFrom(MAX, -MAX, 0, 1, -1));
    fc.assert(
      fc.property(fc.array(summand), (summands) => {
        const count = new WideCount();
        let sum = 0n;
        for (const each of summands) {
          count.add(each);
          sum += BigInt(each);
        }
        expect(count.value).toBe(sum);
        expect(BigInt(count.modulo)).toBe(((sum % 2n ** 53n) + 2n ** 53n) % 2n ** 53n);
      }),
    );
  });
});

describe("conservation", () => {
  it("is counted with every posting as it is found in the accounts, also after a snapshot", () => {
    const account = fc.constantFrom("player:ann", "player:bob", "ground:pile", "container:chest");
    const posting = fc.record({ from: fc.oneof(account, fc.constant("")), to: fc.oneof(account, fc.constant("")), itemKind: fc.constantFrom("ore", "gem"), quantity: fc.integer({ min: 1, max: 1_000 }) });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1), posting)), (postings) => {
        const groups = states(3);
        for (const [at, it] of postings) {
          const { ledger } = groups[at + 1]!;
          if (it.from === it.to || (it.from !== "" && ledger.balance(it.from, it.itemKind) < it.quantity)) continue;
          ledger.post(it, 1);
        }
        const restored = groups.map((state) => {
          const loader = new SnapshotLoader({ ...OPTIONS, groupId: state.groupId });
          for (const chunk of encodeSnapshot(state.capture())) loader.push(chunk);
          return loader.finish();
        });
        for (const each of [groups, restored]) {
          const found = conservationOf(each);
          expect(found).toMatchObject({ addsUp: true, isExplained: true });
          expect([...countedItems(each).values()].filter(({ minted }) => minted > 0).sort((a, b) => (a.itemKind < b.itemKind ? -1 : 1))).toEqual(found.items.filter(({ minted }) => minted > 0));
          expect(each.map(differenceIn)).toEqual([0, 0, 0]);
        }
      }),
    );
  });

  it("is exact beyond 2^53: each of three groups may mint as much, and one may hold it all", () => {
    const groups = states(4);
    for (const { ledger, groupId } of groups.slice(1)) {
      ledger.post({ from: "", to: "player:ann", itemKind: "ore", quantity: MAX }, 1);
      if (groupId === 1) continue;
      ledger.post({ from: "player:ann", to: "group:1", itemKind: "ore", quantity: MAX }, 2);
      groups[1]!.ledger.post({ from: `group:${groupId}`, to: `player:bob-${groupId}`, itemKind: "ore", quantity: MAX }, 2);
    }
    groups[1]!.ledger.post({ from: "player:ann", to: "", itemKind: "ore", quantity: 5 }, 3);
    const sum = BigInt(MAX) * 3n;
    const { items, addsUp, isExplained } = conservationOf(groups);
    expect([addsUp, isExplained]).toEqual([true, true]);
    expect(items).toMatchObject([{ minted: MAX, exactMinted: String(sum), exactBurned: "5", exactHeld: String(sum - 5n), exactInTransit: "0", difference: "0", conserved: true }]);
    expect(countedItems(groups).get("ore")).toEqual(items[0]);
  });

  it("that is broken is told by how much, in whichever way it was looked for", () => {
    const groups = states(2);
    const { ledger } = groups[1]!;
    ledger.post({ from: "", to: "player:ann", itemKind: "ore", quantity: 7 }, 1);
    // Nothing but a defect writes a row twice.
    ledger.restoreRow({ account: "player:bob", itemKind: "ore", quantity: 3, version: 1 });
    expect(conservationOf(groups)).toMatchObject({ addsUp: false, items: [{ conserved: false, difference: "3" }] });
    expect(countedItems(groups).get("ore")).toMatchObject({ conserved: false, difference: "3" });
    expect(differenceIn(groups[1]!)).toBe(3);
  });
});

describe("what an account holds", () => {
  it("of more item kinds than an answer holds is refused by name", () => {
    const groups = states(2);
    const mint = (kind: number): void => groups[1]!.ledger.post({ from: "", to: "player:ann", itemKind: `k${kind}`, quantity: 1 }, 1);
    for (let kind = 0; kind < FLOWS_MAX; kind++) mint(kind);
    expect(flowsOf(groups, { playerId: "ann" })).toHaveLength(FLOWS_MAX);
    mint(FLOWS_MAX);
    expect(() => flowsOf(groups, { playerId: "ann" })).toThrow(expect.objectContaining({ reason: "MESSAGE_TOO_LARGE" }));
  });

  it("is what came and went since counting began, whenever that was, also after a snapshot", () => {
    const account = fc.constantFrom("player:ann", "player:bob", "container:chest");
    const posting = fc.record({ from: fc.oneof(account, fc.constant("")), to: fc.oneof(account, fc.constant("")), itemKind: fc.constantFrom("ore", "gem"), quantity: fc.integer({ min: 1, max: 50 }) });
    fc.assert(
      fc.property(fc.array(posting, { minLength: 5, maxLength: 80 }), fc.nat(60), (postings, beginAt) => {
        const groups = states(2);
        const { ledger } = groups[1]!;
        const model = { minted: 0, burned: 0, received: 0, given: 0, opening: 0 };
        const fresh = (opening: number): unknown => Object.assign(model, { minted: 0, burned: 0, received: 0, given: 0, opening });
        const mine = (): number => ledger.balance("player:ann", "ore");
        for (const [i, it] of postings.entries()) {
          if (i === beginAt) {
            ledger.countFlows(i, []);
            fresh(mine());
          }
          if (it.from === it.to || (it.from !== "" && ledger.balance(it.from, it.itemKind) < it.quantity)) continue;
          ledger.post(it, i);
          if (it.itemKind === "ore" && it.to === "player:ann") model[it.from === "" ? "minted" : "received"] += it.quantity;
          if (it.itemKind === "ore" && it.from === "player:ann") model[it.to === "" ? "burned" : "given"] += it.quantity;
          if (mine() === 0) fresh(0);
        }
        if (ledger.flowsSince === 0) fresh(mine());
        const loader = new SnapshotLoader({ ...OPTIONS, groupId: 1 });
        for (const chunk of encodeSnapshot(groups[1]!.capture())) loader.push(chunk);
        for (const state of [groups[1]!, loader.finish()]) {
          const found = flowsOf([groups[0]!, state], { playerId: "ann" }).find(({ itemKind }) => itemKind === "ore");
          if (mine() === 0) expect(found).toBeUndefined();
          else expect(found).toEqual({ itemKind: "ore", groupId: 1, sinceIndex: ledger.flowsSince, ...model, held: mine(), arriving: 0, leaving: 0, conserved: true });
        }
      }),
    );
  });
});
