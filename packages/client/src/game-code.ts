/**
 * The game's own code, where the SDK calls it. One rule for all callbacks: what they throw, and what a promise that they return rejects with,
 * goes to the client's `onError` and nowhere else. Renewals, streams and handoffs go on.
 */
import { inspect } from "node:util";

/** Told of an error of the game's own code. `callback`: which, such as `authority.onLost`. What it throws itself is written to stderr. */
export type OnError = (error: unknown, callback: string) => void;

/** Says it on stderr: an error that nobody wanted to hear of is to be seen all the same. */
export function writeError(error: unknown, callback: string): void {
  process.stderr.write(`statemesh: ${callback} of the game threw (give connect() an onError to handle this): ${inspect(error)}\n`);
}

/** Calls the game. Undefined where it threw; what it threw, then or later, is told. */
export function callGame<T>(onError: OnError, callback: string, run: () => T): T | undefined {
  try {
    const returned = run();
    if (isThenable(returned)) returned.then(undefined, (error: unknown) => tell(onError, error, callback));
    return returned;
  } catch (error) {
    tell(onError, error, callback);
    return undefined;
  }
}

function tell(onError: OnError, error: unknown, callback: string): void {
  try {
    const returned: unknown = onError(error, callback);
    if (isThenable(returned)) returned.then(undefined, (second: unknown) => writeError(second, "onError"));
  } catch (second) {
    writeError(error, callback);
    writeError(second, "onError");
  }
}

/** A callback that returns nothing may be an async function all the same. */
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
