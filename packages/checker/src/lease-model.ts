import type { Fields } from "./fields.ts";
import type { Model } from "./model.ts";
import type { LeaseOperation } from "./operations.ts";

interface Result {
  readonly decision?: "accepted" | "rejected";
  readonly epoch?: number;
  readonly holder?: number;
}

interface State {
  readonly epoch: number;
  /** 0: nobody. */
  readonly holder: number;
}

const NONE: readonly State[] = [];

/**
 * A lease may run out at any time, which no call shows: where an answer is only possible after that, the state moves to
 * "nobody" with it. A new owner has the next epoch; the owner that asks again keeps its own.
 */
export const leaseModel: Model<LeaseOperation, Result, State> = {
  initial: { epoch: 0, holder: 0 },

  next(state, operation, result) {
    const { epoch, holder } = state;
    switch (operation.action) {
      case "acquire": {
        const granted: State = { epoch: epoch + 1, holder: operation.serverId };
        if (result === undefined) return [granted];
        if (result.decision === "rejected") return holder !== operation.serverId && holder !== 0 && holder === result.holder && epoch === result.epoch ? [state] : NONE;
        if (result.epoch === epoch && holder === operation.serverId) return [state];
        return result.epoch === epoch + 1 ? [granted] : NONE;
      }
      case "read":
        if (result === undefined) return [state];
        if (result.epoch !== epoch) return NONE;
        if (result.holder === holder) return [state];
        return result.holder === 0 ? [{ epoch, holder: 0 }] : NONE;
      case "renew":
      case "release":
      case "write": {
        const own = holder === operation.serverId && holder !== 0 && epoch === operation.epoch;
        // Where nobody owns the region, epoch 0 writes.
        const unowned = operation.action === "write" && operation.epoch === 0;
        if (result === undefined) return [operation.action === "release" && own ? { epoch, holder: 0 } : state];
        if (result.decision === "accepted") {
          if (own) return [operation.action === "release" ? { epoch, holder: 0 } : state];
          return unowned ? [holder === 0 ? state : { epoch, holder: 0 }] : NONE;
        }
        if (own) return [{ epoch, holder: 0 }];
        return unowned && holder === 0 ? NONE : [state];
      }
    }
  },

  textOf: ({ epoch, holder }) => `${holder === 0 ? "nobody" : `server ${holder}`} at epoch ${epoch}`,
  // That the lease ran out is never needed: each answer that needs it brings it along. So waiting gains nothing.
  isIdle: (operation, result) => operation.action === "read" || operation.action === "renew" || operation.action === "write" || result?.decision === "rejected" || (operation.action === "release" && result === undefined),
  isBlind: () => false,
  commute: () => false,

  readOperation(fields: Fields, key: string): LeaseOperation {
    const action = fields.oneOf("action", ["acquire", "renew", "release", "write", "read"]);
    if (action === "read") return { model: "lease", key, action };
    const serverId = fields.whole("serverId", 1);
    if (action === "acquire") return { model: "lease", key, action, serverId };
    return { model: "lease", key, action, serverId, epoch: fields.whole("epoch", 0) };
  },

  readResult(operation, fields) {
    if (operation.action === "read") return { epoch: fields.whole("epoch", 0), holder: fields.whole("holder", 0) };
    const decision = fields.oneOf("decision", ["accepted", "rejected"]);
    if (operation.action !== "acquire") return { decision };
    if (decision === "accepted") return { decision, epoch: fields.whole("epoch", 1) };
    return { decision, epoch: fields.whole("epoch", 0), holder: fields.whole("holder", 1) };
  },
};
