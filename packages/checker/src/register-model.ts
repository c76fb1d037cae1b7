import type { Fields } from "./fields.ts";
import type { Model } from "./model.ts";
import type { RegisterOperation, Value } from "./operations.ts";

interface Result {
  readonly value?: Value;
  readonly swapped?: boolean;
}

interface State {
  readonly value: Value;
}

const NONE: readonly State[] = [];

export const registerModel: Model<RegisterOperation, Result, State> = {
  initial: { value: null },

  next(state, operation, result) {
    switch (operation.action) {
      case "read":
        return result === undefined || result.value === state.value ? [state] : NONE;
      case "write":
        return [{ value: operation.value }];
      case "cas": {
        const swaps = state.value === operation.from;
        if (result !== undefined && result.swapped !== swaps) return NONE;
        return [swaps ? { value: operation.to } : state];
      }
    }
  },

  textOf: ({ value }) => JSON.stringify(value),
  isIdle: (operation, result) => operation.action === "read" || (operation.action === "cas" && result?.swapped === false),
  isBlind: (operation) => operation.action === "write",
  commute: () => false,

  readOperation(fields: Fields, key: string): RegisterOperation {
    const action = fields.oneOf("action", ["read", "write", "cas"]);
    if (action === "read") return { model: "register", key, action };
    if (action === "write") return { model: "register", key, action, value: fields.value("value") };
    return { model: "register", key, action, from: fields.value("from"), to: fields.value("to") };
  },

  readResult(operation, fields) {
    if (operation.action === "read") return { value: fields.value("value") };
    return operation.action === "cas" ? { swapped: fields.flag("swapped") } : {};
  },
};
