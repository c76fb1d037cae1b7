import { expect, test } from "vitest";
import {
  address,
  choice,
  configurationSection,
  ConfigurationError,
  defineProgram,
  describeConfiguration,
  flag,
  HelpRequested,
  integer,
  loadConfiguration,
  OptionRuleError,
  parsed,
  secretsOf,
  text,
} from "../src/index.ts";

const program = defineProgram({
  name: "statemesh-thing",
  summary: "A thing.",
  version: "1.2.3",
  options: {
    nodeId: integer({ required: true, min: 1, max: 64, doc: "Which node this is.", mustMatch: false }),
    tickMs: integer({ default: 50, min: 10, max: 1000, unit: "ms", doc: "One tick.", mustMatch: true }),
    dataDir: text({ default: "data", doc: "Where files lie." }),
    peer: address({ doc: "Somebody else." }),
    fsync: flag({ default: true, doc: "Sync files." }),
    level: choice(["low", "high"], { default: "low", doc: "How much." }),
    password: text({ secret: true, doc: "For the database." }),
    pair: parsed<{ a: number; b: number }>({
      kind: "pair",
      rule: "two numbers a,b",
      placeholder: "a,b",
      doc: "A pair.",
      parse: (value) => {
        const [a, b] = value.split(",").map(Number);
        if (a === undefined || b === undefined) throw new OptionRuleError("must be two numbers a,b");
        return { a, b };
      },
      format: ({ a, b }) => `${a},${b}`,
    }),
  },
});

function load(argv: string[], environment: Record<string, string> = {}) {
  return loadConfiguration(program, argv, environment);
}

test("a flag beats the environment, and the environment beats the default", () => {
  expect(load(["--node-id", "1"]).tickMs).toBe(50);
  expect(load(["--node-id", "1"], { STATEMESH_TICK_MS: "60" }).tickMs).toBe(60);
  expect(load(["--node-id", "1", "--tick-ms=70"], { STATEMESH_TICK_MS: "60" }).tickMs).toBe(70);
  expect(load([], { STATEMESH_NODE_ID: "3" }).nodeId).toBe(3);
});

test("values have their types", () => {
  const config = load(["--node-id", "1", "--peer", "[::1]:80", "--fsync", "false", "--level", "high", "--pair", "1,2"]);
  const typed: { nodeId: number; peer: string | undefined; fsync: boolean; level: "low" | "high"; pair: { a: number; b: number } | undefined } = config;
  expect(typed).toMatchObject({ nodeId: 1, peer: "[::1]:80", fsync: false, level: "high", pair: { a: 1, b: 2 } });
  expect(load(["--node-id", "1"]).peer).toBeUndefined();
  expect(load(["--node-id", "1", "--fsync"]).fsync).toBe(true);
});

test.each([
  [["--node-id", "0"], "--node-id: must be a whole number, 1..64, not \"0\""],
  [["--node-id", "1e1"], "--node-id: must be a whole number"],
  [["--node-id", "9007199254740993"], "--node-id: must be a whole number"],
  [[], "--node-id (or STATEMESH_NODE_ID): is required"],
  [["--node-id", "1", "--peer", "nowhere"], "--peer: must be host:port"],
  [["--node-id", "1", "--peer", "a:0"], "--peer: must be host:port"],
  [["--node-id", "1", "--peer", "a:65536"], "--peer: must be host:port"],
  [["--node-id", "1", "--level", "middle"], "--level: must be one of low, high, not \"middle\""],
  [["--node-id", "1", "--fsync", "perhaps"], "--fsync: must be true or false"],
  [["--node-id", "1", "--data-dir", ""], "--data-dir: must be 1..4096 characters"],
  [["--node-id", "1", "--nonsense", "5"], "command line: unknown option '--nonsense'"],
  [["--node-id", "1", "stray"], "command line: too many arguments"],
  [["--node-id"], "command line: option '--node-id <number>' argument missing"],
])("%j is refused by name", (argv, message) => {
  expect(() => load(argv)).toThrow(ConfigurationError);
  expect(() => load(argv)).toThrow(message);
});

test("an environment variable is named in its error; an empty one counts as not given", () => {
  expect(() => load(["--node-id", "1"], { STATEMESH_TICK_MS: "9" })).toThrow("STATEMESH_TICK_MS: must be a whole number, 10..1000");
  expect(load(["--node-id", "1"], { STATEMESH_TICK_MS: "" }).tickMs).toBe(50);
});

test("secrets are neither described nor shown in errors", () => {
  const config = load(["--node-id", "1"], { STATEMESH_PASSWORD: "hunter2" });
  expect(describeConfiguration(program, config)).toMatchObject({ password: "[redacted]", tickMs: "50", peer: "" });
  expect(secretsOf(program, config)).toEqual(["hunter2"]);
  const long = "s".repeat(5000);
  expect(() => load(["--node-id", "1"], { STATEMESH_PASSWORD: long })).toThrow("not the given value");
});

test("--help and --version are answers, not errors", () => {
  expect(() => load(["--help"])).toThrow(HelpRequested);
  expect(() => load(["--version"])).toThrow("1.2.3");
});

test("the page has a row for every option", () => {
  const section = configurationSection(program);
  expect(section).toContain("| `--tick-ms` | `STATEMESH_TICK_MS` | `50` | a whole number, 10..1000 (ms) | yes | One tick. |");
  expect(section).toContain("| `--node-id` | `STATEMESH_NODE_ID` | **required** |");
  expect(section).toContain("Secret: never logged.");
});

test("an option with a bad name or a secret with a default is refused where it is defined", () => {
  expect(() => defineProgram({ ...program, options: { "Bad-name": flag({ default: true, doc: "x" }) } })).toThrow("camelCase");
  expect(() => defineProgram({ ...program, options: { key: text({ default: "x", secret: true, doc: "x" }) } })).toThrow("no default");
});
