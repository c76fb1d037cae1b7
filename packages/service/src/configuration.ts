import { Command, CommanderError, Option } from "commander";
import { type ConfigurationOf, type OptionDefinition, OptionRuleError, type OptionTable } from "./option.ts";

/** The configuration is wrong: the message names the option and the rule it breaks. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  /** As the operator wrote it: the flag or the environment variable. */
  readonly source: string;

  constructor(source: string, rule: string) {
    super(`${source}: ${rule}`);
    this.source = source;
  }
}

/** `--help` or `--version` was asked for, and `text` is the answer. */
export class HelpRequested extends Error {
  override readonly name = "HelpRequested";
}

/** Flag of an option: `dataDir` is `--data-dir`. */
export function flagOf(name: string): string {
  return `--${kebab(name)}`;
}

/** Environment variable of an option: `dataDir` is `STATEMESH_DATA_DIR`. */
export function environmentOf(name: string): string {
  return `STATEMESH_${kebab(name).replaceAll("-", "_").toUpperCase()}`;
}

function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A service's program name, what it does, and its options. */
export interface Program<T extends OptionTable> {
  readonly name: string;
  readonly summary: string;
  readonly version: string;
  readonly options: T;
}

/** The same object, with every name checked: camelCase, no duplicates in kebab-case. */
export function defineProgram<const T extends OptionTable>(program: Program<T>): Program<T> {
  for (const [name, { definition }] of Object.entries(program.options)) {
    if (!/^[a-z][A-Za-z0-9]*$/.test(name)) throw new TypeError(`option ${name}: camelCase`);
    if (definition.secret === true && definition.default !== undefined) throw new TypeError(`option ${name}: a secret has no default`);
  }
  return program;
}

/** An option's value as text, for logs and the page: never a secret. */
export function showValue(definition: OptionDefinition, value: unknown): string {
  if (value === undefined) return "";
  return definition.secret === true ? "[redacted]" : definition.format(value);
}

/**
 * Values from flags, else the environment, else defaults. An empty environment variable counts as not given.
 * Throws ConfigurationError, and HelpRequested for `--help` and `--version`.
 */
export function loadConfiguration<T extends OptionTable>(
  program: Program<T>,
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ConfigurationOf<T> {
  const given = readFlags(program, argv);
  const values: Record<string, unknown> = {};
  for (const [name, { definition }] of Object.entries(program.options)) {
    const flagText = given[name];
    const environmentText = environment[environmentOf(name)];
    if (flagText !== undefined) values[name] = parse(definition, flagOf(name), flagText === true ? "true" : flagText);
    else if (environmentText !== undefined && environmentText !== "") values[name] = parse(definition, environmentOf(name), environmentText);
    else if (definition.default !== undefined) values[name] = definition.default;
    else if (definition.required === true) throw new ConfigurationError(`${flagOf(name)} (or ${environmentOf(name)})`, `is required: ${definition.rule}`);
    else values[name] = undefined;
  }
  return values as ConfigurationOf<T>;
}

function parse(definition: OptionDefinition, source: string, text: string): unknown {
  try {
    return definition.parse(text);
  } catch (error) {
    if (!(error instanceof OptionRuleError)) throw error;
    const shown = definition.secret === true ? "the given value" : JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
    throw new ConfigurationError(source, `${error.message}, not ${shown}`);
  }
}

function readFlags<T extends OptionTable>(program: Program<T>, argv: readonly string[]): Readonly<Record<string, string | true>> {
  let output = "";
  const keep = (text: string): void => {
    output += text;
  };
  const command = new Command(program.name)
    .description(program.summary)
    .version(program.version)
    .allowExcessArguments(false)
    .configureOutput({ writeOut: keep, writeErr: keep, getOutHelpWidth: () => 110 })
    .exitOverride();
  for (const [name, { definition }] of Object.entries(program.options)) {
    const argument = definition.kind === "boolean" ? `[${definition.placeholder}]` : `<${definition.placeholder}>`;
    command.addOption(new Option(`${flagOf(name)} ${argument}`, helpOf(name, definition)));
  }
  command.addHelpText("after", "\nEvery option can be given in the environment instead; a flag wins. Configuration errors end with status 2.");
  try {
    command.parse([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) throw new HelpRequested(output.trimEnd());
    throw new ConfigurationError("command line", error.message.replace(/^error: /, ""));
  }
  return command.opts();
}

function helpOf(name: string, definition: OptionDefinition): string {
  const fallback = definition.default === undefined ? (definition.required === true ? "required" : "not set by default") : `default ${definition.format(definition.default)}`;
  return `${definition.doc} (${definition.rule}${definition.unit === undefined ? "" : ` ${definition.unit}`}; ${fallback}; ${environmentOf(name)})`;
}

/** The values with secrets hidden, for the log. */
export function describeConfiguration<T extends OptionTable>(program: Program<T>, configuration: ConfigurationOf<T>): Record<string, string> {
  const values = configuration as Readonly<Record<string, unknown>>;
  return Object.fromEntries(Object.entries(program.options).map(([name, { definition }]) => [name, showValue(definition, values[name])]));
}

/** The values of secret options as texts: what a log must not show. */
export function secretsOf<T extends OptionTable>(program: Program<T>, configuration: ConfigurationOf<T>): string[] {
  const values = configuration as Readonly<Record<string, unknown>>;
  return Object.entries(program.options).flatMap(([name, { definition }]) => {
    const value = values[name];
    return definition.secret === true && value !== undefined ? [definition.format(value)] : [];
  });
}

/**
 * For a service's main: the configuration of this process. Prints help and ends with 0, or prints what is wrong
 * and ends with 2.
 */
export function configurationOfProcess<T extends OptionTable>(program: Program<T>): ConfigurationOf<T> {
  try {
    return loadConfiguration(program, process.argv.slice(2), process.env);
  } catch (error) {
    if (error instanceof HelpRequested) {
      process.stdout.write(`${error.message}\n`);
      return process.exit(0);
    }
    if (!(error instanceof ConfigurationError)) throw error;
    process.stderr.write(`${program.name}: ${error.message}\nSee ${program.name} --help.\n`);
    return process.exit(2);
  }
}
