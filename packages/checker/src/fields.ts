import { HistoryError } from "./history-error.ts";
import type { Value } from "./operations.ts";

/** Texts of a history have at most this many characters. */
export const TEXT_MAX = 1_024;
/** Elements of one list of a transaction. */
const LIST_MAX = 10_000;

/** The fields of one object that came in, each asked for once; what was not asked for is refused. */
export class Fields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #line: number;
  readonly #path: string;
  readonly #asked = new Set<string>();

  constructor(value: unknown, line: number, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new HistoryError(line, path, "must be an object");
    this.#object = value as Readonly<Record<string, unknown>>;
    this.#line = line;
    this.#path = path;
  }

  has(name: string): boolean {
    return this.#object[name] !== undefined;
  }

  text(name: string): string {
    const value = this.#take(name);
    if (typeof value !== "string" || value.length === 0 || value.length > TEXT_MAX) this.refuse(name, `must be a text of 1..${TEXT_MAX} characters`);
    return value;
  }

  oneOf<T extends string>(name: string, words: readonly T[]): T {
    const value = this.#take(name);
    const word = words.find((each) => each === value);
    if (word === undefined) this.refuse(name, `must be one of ${words.join(", ")}`);
    return word;
  }

  whole(name: string, min: number): number {
    const value = this.#take(name);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < min) this.refuse(name, `must be a whole number, ${min < 0 ? "at most 2^53 - 1 either way" : `${min} or more`}`);
    return value;
  }

  milliseconds(name: string): number {
    const value = this.#take(name);
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) this.refuse(name, "must be a number of milliseconds, 0 or more");
    return value;
  }

  flag(name: string): boolean {
    const value = this.#take(name);
    if (typeof value !== "boolean") this.refuse(name, "must be true or false");
    return value;
  }

  /** A text, a number or null. */
  value(name: string): Value {
    const value = this.#take(name);
    if (value === null || (typeof value === "string" && value.length <= TEXT_MAX) || (typeof value === "number" && Number.isFinite(value))) return value;
    return this.refuse(name, `must be a text of at most ${TEXT_MAX} characters, a number or null`);
  }

  /** A text or a number. */
  present(name: string): string | number {
    const value = this.value(name);
    if (value === null) this.refuse(name, "must not be null");
    return value;
  }

  object(name: string): Fields {
    return new Fields(this.#take(name), this.#line, this.#pathOf(name));
  }

  texts(name: string): string[] {
    return this.#list(name).map((value, at) => {
      if (typeof value !== "string" || value.length === 0 || value.length > TEXT_MAX) this.refuse(`${name}[${at}]`, `must be a text of 1..${TEXT_MAX} characters`);
      return value;
    });
  }

  objects(name: string): Fields[] {
    return this.#list(name).map((value, at) => new Fields(value, this.#line, this.#pathOf(`${name}[${at}]`)));
  }

  /** Refuses fields that nobody asked for. */
  end(): void {
    for (const name of Object.keys(this.#object)) {
      if (this.#object[name] !== undefined && !this.#asked.has(name)) this.refuse(name, "is no field of this");
    }
  }

  refuse(name: string, rule: string): never {
    throw new HistoryError(this.#line, this.#pathOf(name), rule);
  }

  #list(name: string): unknown[] {
    const value = this.#take(name);
    if (!Array.isArray(value) || value.length > LIST_MAX) this.refuse(name, `must be a list of at most ${LIST_MAX}`);
    return value;
  }

  #take(name: string): unknown {
    this.#asked.add(name);
    const value = Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
    if (value === undefined) this.refuse(name, "required");
    return value;
  }

  #pathOf(name: string): string {
    return this.#path === "" ? name : `${this.#path}.${name}`;
  }
}
