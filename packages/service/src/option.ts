// One definition per option: it gives the flag, the environment variable, the check and the line of docs/configuration.md.

/** What a text breaks; the caller adds which option and where the text came from. */
export class OptionRuleError extends Error {
  override readonly name = "OptionRuleError";
}

/** What every kind of option says about itself. */
export interface OptionSpec<T> {
  /** One or two sentences for `--help` and the configuration page. */
  readonly doc: string;
  readonly default?: T;
  /** Without a default: refuse to start where it is not given. Otherwise the value is `undefined`. */
  readonly required?: boolean;
  /** `ms`, `bytes`, ...; the last part of the doc's range. */
  readonly unit?: string;
  /** Every node of a cluster must have the same value. */
  readonly mustMatch?: boolean;
  /** Never printed or logged. */
  readonly secret?: boolean;
}

/** How an option's text is read, checked and shown. */
interface OptionShape<T> {
  readonly kind: string;
  /** What values are allowed, in words. */
  readonly rule: string;
  /** Stands for the value in the help text. */
  readonly placeholder: string;
  /** Throws OptionRuleError. */
  readonly parse: (text: string) => T;
  readonly format: (value: T) => string;
}

/** An option of any value type, for the code that goes through tables of them. */
export interface OptionDefinition extends OptionSpec<unknown>, OptionShape<unknown> {}

type Given<T, S> = S extends { readonly default: unknown } | { readonly required: true } ? T : T | undefined;

/** The value type of an option: without default and not required it may be undefined. */
export interface TypedOption<V> {
  readonly definition: OptionDefinition;
  /** Only for the compiler. */
  readonly value?: V;
}

export type OptionTable = Readonly<Record<string, TypedOption<unknown>>>;

/** The values of a table of options. */
export type ConfigurationOf<T extends OptionTable> = {
  readonly [K in keyof T]: T[K] extends TypedOption<infer V> ? V : never;
};

function option<T, S extends OptionSpec<T>>(
  spec: S,
  shape: OptionShape<T>,
): TypedOption<Given<T, S>> {
  // `format` only ever gets what `parse` or `default` gave: a T.
  return { definition: { ...spec, ...shape, format: (value) => shape.format(value as T) } };
}

/** Bounds of a number, both included. */
export interface NumberSpec extends OptionSpec<number> {
  readonly min: number;
  readonly max: number;
}

/** A whole number in `min..max`. */
export function integer<const S extends NumberSpec>(spec: S): TypedOption<Given<number, S>> {
  const rule = `a whole number, ${spec.min}..${spec.max}`;
  return option<number, S>(spec, {
    kind: "integer",
    rule,
    placeholder: spec.unit ?? "number",
    parse: (text) => {
      const value = /^-?[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isSafeInteger(value) || value < spec.min || value > spec.max) throw new OptionRuleError(`must be ${rule}`);
      return value;
    },
    format: String,
  });
}

/** A text of `minLength..maxLength` characters (1..4,096 by default), of the given pattern where there is one. */
export interface TextSpec extends OptionSpec<string> {
  readonly maxLength?: number;
  readonly pattern?: RegExp;
  /** Says in words what `pattern` allows. */
  readonly patternDoc?: string;
  readonly placeholder?: string;
}

export function text<const S extends TextSpec>(spec: S): TypedOption<Given<string, S>> {
  const max = spec.maxLength ?? 4096;
  const rule = `1..${max} characters${spec.patternDoc === undefined ? "" : `: ${spec.patternDoc}`}`;
  return option<string, S>(spec, {
    kind: "text",
    rule,
    placeholder: spec.placeholder ?? "text",
    parse: (value) => {
      if (value.length === 0 || value.length > max || (spec.pattern !== undefined && !spec.pattern.test(value))) {
        throw new OptionRuleError(`must be ${rule}`);
      }
      return value;
    },
    format: (value) => value,
  });
}

/** `true` or `false`; the flag alone means true. */
export function flag<const S extends OptionSpec<boolean>>(spec: S): TypedOption<Given<boolean, S>> {
  return option<boolean, S>(spec, {
    kind: "boolean",
    rule: "true or false",
    placeholder: "true|false",
    parse: (value) => {
      if (value === "true") return true;
      if (value === "false") return false;
      throw new OptionRuleError("must be true or false");
    },
    format: String,
  });
}

/** One of a closed set of words. */
export function choice<const C extends string, const S extends OptionSpec<C>>(
  choices: readonly C[],
  spec: S,
): TypedOption<Given<C, S>> {
  const rule = `one of ${choices.join(", ")}`;
  return option<C, S>(spec, {
    kind: "choice",
    rule,
    placeholder: choices.join("|"),
    parse: (value) => {
      const found = choices.find((each) => each === value);
      if (found === undefined) throw new OptionRuleError(`must be ${rule}`);
      return found;
    },
    format: String,
  });
}

/** Host and port of an address text; the host may be an IPv6 address in brackets. */
export function splitAddress(value: string): { host: string; port: number } | undefined {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})$/.exec(value);
  const [, host, port] = match ?? [];
  if (host === undefined || port === undefined || Number(port) > 65535) return undefined;
  return { host: host.startsWith("[") ? host.slice(1, -1) : host, port: Number(port) };
}

/** `host:port`. Port 0 (any free port) only where the spec allows it. */
export function address<const S extends OptionSpec<string> & { readonly anyPort?: boolean }>(
  spec: S,
): TypedOption<Given<string, S>> {
  const rule = `host:port${spec.anyPort === true ? ", port 0 for any free one" : ""}`;
  return option<string, S>(spec, {
    kind: "address",
    rule,
    placeholder: "host:port",
    parse: (value) => {
      const split = splitAddress(value);
      if (split === undefined || (split.port === 0 && spec.anyPort !== true)) throw new OptionRuleError(`must be ${rule}`);
      return value;
    },
    format: (value) => value,
  });
}

/** A value of the service's own type. `parse` throws OptionRuleError. */
export interface ParsedSpec<T> extends OptionSpec<T>, OptionShape<T> {}

export function parsed<T>(spec: ParsedSpec<T> & ({ readonly default: T } | { readonly required: true })): TypedOption<T>;
export function parsed<T>(spec: ParsedSpec<T>): TypedOption<T | undefined>;
export function parsed<T>(spec: ParsedSpec<T>): TypedOption<T | undefined> {
  return option<T, ParsedSpec<T>>(spec, spec);
}
