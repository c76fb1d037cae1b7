import type { Fields } from "./fields.ts";
import type { Model } from "./model.ts";
import type { Condition, EntityOperation, Value } from "./operations.ts";

interface Result {
  readonly decision?: "accepted" | "rejected";
  readonly value?: Value;
  readonly version?: number;
}

interface State {
  /** null: absent. */
  readonly value: Value;
  /** Of the last write; where that is open, or did not tell, the last version known before it. */
  readonly version: number;
  /** Whether the value has this version. */
  readonly exact: boolean;
}

const NONE: readonly State[] = [];
const CONDITIONS = ["always", "absent", "present", "ruled"] as const;

/** What the condition says about this state: must be accepted, must be refused, or either. */
function demandOf(when: Condition, { value }: State): "accept" | "reject" | "either" {
  if (when === "ruled") return "either";
  if (when === "always") return "accept";
  return (value === null) === (when === "absent") ? "accept" : "reject";
}

/**
 * Versions never go back from one write to the next. Writes of one log entry share a version, so equal ones may follow
 * each other, in any order that real time allows.
 */
function written(state: State, value: Value, version: number | undefined): readonly State[] {
  if (version === undefined) return [{ value, version: state.version, exact: false }];
  return version < state.version ? NONE : [{ value, version, exact: true }];
}

export const entityModel: Model<EntityOperation, Result, State> = {
  initial: { value: null, version: 0, exact: true },

  next(state, operation, result) {
    if (operation.action === "read") {
      if (result === undefined) return [state];
      if (result.value !== state.value) return NONE;
      if (result.version === undefined || state.value === null) return [state];
      if (state.exact) return result.version === state.version ? [state] : NONE;
      return written(state, state.value, result.version);
    }
    // Only what is there can go.
    const when = operation.action === "remove" && operation.when === "always" ? "present" : operation.when;
    let demand = demandOf(when, state);
    if (operation.action === "remove" && state.value === null) demand = "reject";
    const after = operation.action === "put" ? operation.value : null;
    if (result === undefined) return demand === "reject" ? NONE : written(state, after, undefined);
    if (result.decision === "rejected") return demand === "accept" ? NONE : [state];
    return demand === "reject" ? NONE : written(state, after, result.version);
  },

  textOf: ({ value, version, exact }) => `${value === null ? "absent" : JSON.stringify(value)} ${exact ? "at" : "since"} version ${version}`,
  isIdle: (operation, result) => (operation.action === "read" || result?.decision === "rejected"),
  isBlind: () => false,
  commute: () => false,

  readOperation(fields: Fields, key: string): EntityOperation {
    const action = fields.oneOf("action", ["put", "remove", "read"]);
    if (action === "read") return { model: "entity", key, action };
    if (action === "remove") return { model: "entity", key, action, when: fields.oneOf("when", CONDITIONS) };
    return { model: "entity", key, action, value: fields.present("value"), when: fields.oneOf("when", CONDITIONS) };
  },

  readResult(operation, fields) {
    const version = fields.has("version") ? { version: fields.whole("version", 0) } : {};
    if (operation.action === "read") return { value: fields.value("value"), ...version };
    return { decision: fields.oneOf("decision", ["accepted", "rejected"]), ...version };
  },
};
