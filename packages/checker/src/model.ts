import type { Fields } from "./fields.ts";

/**
 * What one key does when calls come one at a time. States are values: they are never changed, and two with the same
 * text are the same.
 */
export interface Model<O, R, S> {
  readonly initial: S;
  /**
   * The states that the call can leave behind where it answers `result`; none where it cannot answer that here. Without a
   * result (an open call): every state that it can lead to.
   */
  next(state: S, operation: O, result: R | undefined): readonly S[];
  textOf(state: S): string;
  /**
   * True where the call, wherever it changes nothing, may as well be taken there and then: nothing that comes later
   * becomes possible by waiting. Holds for reads and refusals. An open call of this kind tells nothing and is left out.
   */
  isIdle(operation: O, result: R | undefined): boolean;
  /** True where the call is good in every state, and leaves the same state behind in each. */
  isBlind(operation: O): boolean;
  /** Of two calls that are not idle: true where `first` may come before `second` wherever it and `second` before it are both possible, with the same end. */
  commute(first: O, second: O): boolean;
  /** Reads and checks what a history holds; `model` and `key` are read already. */
  readOperation(fields: Fields, key: string): O;
  readResult(operation: O, fields: Fields): R;
}
