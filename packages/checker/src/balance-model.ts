import type { Fields } from "./fields.ts";
import type { Model } from "./model.ts";
import type { BalanceOperation } from "./operations.ts";

interface Result {
  readonly decision?: "accepted" | "rejected";
  readonly quantity?: number;
}

interface State {
  readonly quantity: number;
}

const NONE: readonly State[] = [];

export const balanceModel: Model<BalanceOperation, Result, State> = {
  initial: { quantity: 0 },

  next(state, operation, result) {
    if (operation.action === "read") return result === undefined || result.quantity === state.quantity ? [state] : NONE;
    const quantity = state.quantity + operation.delta;
    const enough = quantity >= 0 && quantity <= Number.MAX_SAFE_INTEGER;
    if (result?.decision === "rejected") return enough && operation.when === "enough" ? NONE : [state];
    return enough ? [{ quantity }] : NONE;
  },

  textOf: ({ quantity }) => String(quantity),
  isIdle: (operation, result) => operation.action === "read" || result?.decision === "rejected",
  isBlind: () => false,
  // What is good first and good after another leaves the same sum in the other order, and never a smaller one on the way.
  commute: (first, second) => first.action === "post" && second.action === "post",

  readOperation(fields: Fields, key: string): BalanceOperation {
    const action = fields.oneOf("action", ["post", "read"]);
    if (action === "read") return { model: "balance", key, action };
    const delta = fields.whole("delta", -Number.MAX_SAFE_INTEGER);
    if (delta === 0) fields.refuse("delta", "must not be 0");
    return { model: "balance", key, action, delta, when: fields.oneOf("when", ["enough", "ruled"]) };
  },

  readResult(operation, fields) {
    if (operation.action === "read") return { quantity: fields.whole("quantity", 0) };
    return { decision: fields.oneOf("decision", ["accepted", "rejected"]) };
  },
};
