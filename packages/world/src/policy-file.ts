/**
 * Reads a policy file: YAML over the default policy. The format is documented in docs/policy.md. Pure: the text is
 * handed in, and the file's name only appears in errors.
 */
import { ConflictType } from "@statemesh/contract";
import { StateMerge } from "@statemesh/merge";
import { isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { z } from "zod";
import { BUILT_IN_TYPES, RESERVED_NAMES } from "./built-in-types.ts";
import { DEFAULT_POLICY_TEXT } from "./default-policy.ts";
import { type Consistency, type OperationType, type Policy, policyOf, type PolicyTable, type Rule } from "./policy.ts";
import { PolicyError, type PolicyProblem } from "./policy-error.ts";
import { mergeSpecOf } from "./policy-merge.ts";

/** Longest policy file, characters. */
export const POLICY_TEXT_MAX = 1_048_576;
/** Most types of the operator's own. */
export const CUSTOM_TYPES_MAX = 256;
/** Most servers with a priority of their own. */
export const PRIORITIES_MAX = 65_536;
/** Longest window, ms. */
export const WINDOW_MAX_MS = 60_000;

const RULES = ["merge", "priority", "timestamp", "server_id", "operation_id", "last_write_wins"] as const satisfies readonly Rule[];
const NAME_PATTERN = /^[a-z][a-z0-9_]{0,63}$/;
const SERVER_PATTERN = /^[1-9][0-9]{0,9}$/;

const WindowSchema = z.int().min(0).max(WINDOW_MAX_MS);
const PrioritySchema = z.int().min(-2_147_483_648).max(2_147_483_647);
const TypeSchema = z.strictObject({
  consistency: z.enum(["strong", "eventual", "causal"]).optional(),
  chain: z.array(z.enum(RULES)).min(1).max(RULES.length).optional(),
  // A function by name, or fields: see policy-merge.ts.
  merge: z.unknown().optional(),
  tentative: z.boolean().optional(),
});
const FileSchema = z.strictObject({
  version: z.literal(1),
  windows: z.strictObject({ compensation_ms: WindowSchema.optional(), max_offset_ms: WindowSchema.optional(), concurrency_ms: WindowSchema.optional() }).optional(),
  servers: z.strictObject({ default_priority: PrioritySchema.optional(), priorities: z.record(z.string(), PrioritySchema).optional() }).optional(),
  types: z.record(z.string(), TypeSchema).optional(),
});

type Path = readonly PropertyKey[];
type TypeEntry = z.infer<typeof TypeSchema>;

const EMPTY_TABLE: PolicyTable = {
  types: [], defaultPriority: 0, priorities: new Map(), compensationWindowMs: 0, maxOffsetMs: 0, concurrencyWindowMs: 0,
};

function formatPath(path: Path): string {
  let text = "";
  for (const part of path) text += typeof part === "number" ? `[${part}]` : `${text === "" ? "" : "."}${String(part)}`;
  return text;
}

/** Finds the place in the file that a path names, or the deepest part of it that is there. */
function nodeAt(root: unknown, path: Path): Node | undefined {
  let deepest = isNode(root) ? root : undefined;
  let at: unknown = root;
  for (const part of path) {
    if (isMap(at)) {
      const pair = at.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
      if (pair === undefined) return deepest;
      if (isNode(pair.key)) deepest = pair.key;
      at = pair.value;
    } else if (isSeq(at) && typeof part === "number") {
      at = at.items[part];
      if (isNode(at)) deepest = at;
    } else {
      return deepest;
    }
  }
  return deepest;
}

/** Collects problems while a file is read. */
class Problems {
  readonly found: PolicyProblem[] = [];
  readonly #root: unknown;
  readonly #lines: LineCounter;

  constructor(root: unknown, lines: LineCounter) {
    this.#root = root;
    this.#lines = lines;
  }

  add(path: Path, rule: string): void {
    const offset = nodeAt(this.#root, path)?.range?.[0] ?? 0;
    this.found.push({ line: Math.max(1, this.#lines.linePos(offset).line), field: formatPath(path), rule });
  }

  throwIfAny(fileName: string): void {
    const [first, ...rest] = this.found;
    if (first !== undefined) throw new PolicyError(fileName, [first, ...rest]);
  }
}

/** The chain in force: `merge` first where asked for, and closed by `operation_id` where the class is strong. */
function completeChain(chain: readonly Rule[], merge: boolean, consistency: Consistency): readonly Rule[] {
  const complete: Rule[] = [...chain];
  if (merge && !complete.includes("merge")) complete.unshift("merge");
  if (consistency === "strong" && !complete.includes("operation_id")) complete.push("operation_id");
  return complete;
}

function checkChain(name: string, chain: readonly Rule[], consistency: Consistency, mergeable: boolean, problems: Problems): void {
  const path = ["types", name, "chain"];
  chain.forEach((rule, at) => {
    if (chain.indexOf(rule) !== at) problems.add([...path, at], `${rule} stands in the chain twice`);
    else if (rule === "merge" && !mergeable) problems.add([...path, at], `operations of type ${name} can't be merged`);
    else if (rule === "merge" && at !== 0) problems.add([...path, at], "merge must be the first rule");
    else if (chain.slice(0, at).includes("operation_id")) problems.add([...path, at], "no rule can follow operation_id: it leaves no tie");
  });
  if (chain.includes("timestamp") && chain.includes("last_write_wins")) {
    problems.add(path, "timestamp (earliest wins) and last_write_wins (latest wins) exclude each other");
  }
  if (consistency !== "strong" && chain.join() !== "last_write_wins,server_id") {
    problems.add(path, `the chain of ${consistency} types must be [last_write_wins, server_id]`);
  }
}

/** How states merge: from what `merge` says beyond yes and no. */
function stateMergeOf(name: string, { merge }: TypeEntry, base: OperationType | undefined, problems: Problems): StateMerge | undefined {
  if (merge === undefined) return base?.stateMerge;
  if (typeof merge === "boolean") return undefined;
  const path = ["types", name, "merge"];
  if (BUILT_IN_TYPES.has(name)) {
    problems.add(path, `must be true or false: only types of your own have a state to merge`);
    return undefined;
  }
  const spec = mergeSpecOf(merge, path, (at, rule) => problems.add(at, rule));
  return spec === undefined ? undefined : new StateMerge(spec);
}

function typeOf(name: string, entry: TypeEntry, base: OperationType | undefined, problems: Problems): OperationType | undefined {
  const path = ["types", name];
  const builtIn = BUILT_IN_TYPES.get(name);
  if (builtIn === undefined) {
    if (!NAME_PATTERN.test(name)) problems.add(path, "the name must be 1..64 characters of a-z, 0-9 and _, a letter first");
    else if (RESERVED_NAMES.has(name)) problems.add(path, `${name} is a name of StateMesh's own`);
  } else if (entry.consistency !== undefined && entry.consistency !== builtIn.consistency) {
    problems.add([...path, "consistency"], `${name} is a built-in type and stays ${builtIn.consistency}`);
  }
  const consistency = builtIn?.consistency ?? entry.consistency;
  const mergeable = builtIn === undefined ? consistency === "strong" : builtIn.mergeable;
  const chain = entry.chain ?? base?.chain.filter((rule) => rule !== "merge" || entry.merge !== false);
  const merges = entry.merge !== undefined && entry.merge !== false;
  const stateMerge = stateMergeOf(name, entry, base, problems);
  if (consistency === undefined) problems.add(path, "consistency is required: strong, eventual or causal");
  if (chain === undefined) problems.add(path, "chain is required");
  if (consistency === undefined || chain === undefined) return undefined;
  if (merges && !mergeable) problems.add([...path, "merge"], `operations of type ${name} can't be merged`);
  if (entry.merge === false && chain.includes("merge")) problems.add([...path, "merge"], "must not be false where the chain has merge");
  if (entry.tentative === true && consistency !== "strong") problems.add([...path, "tentative"], "only strong types can be kept while a node is cut off: others go on");
  else if (entry.tentative === true && builtIn?.keepable === false) problems.add([...path, "tentative"], `${name} moves items, and what is spent on both sides of a partition can't be taken back`);
  checkChain(name, chain, consistency, mergeable, problems);
  const complete = completeChain(chain, merges, consistency);
  return {
    name,
    consistency,
    chain: complete,
    merge: complete.includes("merge"),
    stateMerge,
    builtIn: builtIn !== undefined,
    conflict: builtIn?.conflict ?? (consistency === "strong" ? ConflictType.KEY : ConflictType.UNSPECIFIED),
    layer: builtIn?.layer ?? (consistency === "strong" ? name : ""),
    tentative: entry.tentative ?? base?.tentative ?? false,
  };
}

function prioritiesOf(entries: Record<string, number>, problems: Problems): Map<number, number> {
  const priorities = new Map<number, number>();
  for (const [server, priority] of Object.entries(entries)) {
    const id = SERVER_PATTERN.test(server) ? Number(server) : 0;
    if (id < 1 || id > 4_294_967_295) problems.add(["servers", "priorities", server], "the server id must be 1..4294967295");
    priorities.set(id, priority);
  }
  if (priorities.size > PRIORITIES_MAX) problems.add(["servers", "priorities"], `at most ${PRIORITIES_MAX} servers`);
  return priorities;
}

function parseTable(text: string, fileName: string, base: PolicyTable): PolicyTable {
  if (text.length > POLICY_TEXT_MAX) throw new PolicyError(fileName, [{ line: 1, field: "", rule: `must be at most ${POLICY_TEXT_MAX} characters` }]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems = new Problems(document.contents, lines);
  for (const error of [...document.errors, ...document.warnings]) {
    problems.found.push({ line: lines.linePos(error.pos[0]).line, field: "", rule: error.message });
  }
  problems.throwIfAny(fileName);

  let content: unknown;
  try {
    content = document.toJS();
  } catch (error) {
    // The YAML library gives up on aliases that multiply without end.
    throw new PolicyError(fileName, [{ line: 1, field: "", rule: error instanceof Error ? error.message : String(error) }]);
  }
  const read = FileSchema.safeParse(content);
  for (const issue of read.error?.issues ?? []) {
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) problems.add([...issue.path, key], "is not a field of the policy file");
    } else {
      problems.add(issue.path, issue.message);
    }
  }
  problems.throwIfAny(fileName);
  const file = read.data;
  if (file === undefined) throw new PolicyError(fileName, [{ line: 1, field: "", rule: "is not a policy file" }]);

  const types = new Map(base.types.map((type) => [type.name, type]));
  for (const [name, entry] of Object.entries(file.types ?? {})) {
    const type = typeOf(name, entry, types.get(name), problems);
    if (type !== undefined) types.set(name, type);
  }
  if (types.size > BUILT_IN_TYPES.size + CUSTOM_TYPES_MAX) problems.add(["types"], `at most ${CUSTOM_TYPES_MAX} types of your own`);
  const priorities = file.servers?.priorities === undefined ? base.priorities : prioritiesOf(file.servers.priorities, problems);
  problems.throwIfAny(fileName);
  return {
    types: [...types.values()],
    defaultPriority: file.servers?.default_priority ?? base.defaultPriority,
    priorities,
    compensationWindowMs: file.windows?.compensation_ms ?? base.compensationWindowMs,
    maxOffsetMs: file.windows?.max_offset_ms ?? base.maxOffsetMs,
    concurrencyWindowMs: file.windows?.concurrency_ms ?? base.concurrencyWindowMs,
  };
}

const DEFAULT_TABLE = parseTable(DEFAULT_POLICY_TEXT, "default policy", EMPTY_TABLE);

/** The policy that holds where the operator gives none. */
export const DEFAULT_POLICY: Policy = policyOf(DEFAULT_TABLE);

/**
 * A policy file over the default policy: what the file does not say stays as it is there.
 *
 * @param text YAML, at most 1,048,576 characters
 * @param fileName for errors only
 * @throws PolicyError with line, field and rule of everything that is wrong
 */
export function parsePolicy(text: string, fileName: string): Policy {
  return policyOf(parseTable(text, fileName, DEFAULT_TABLE));
}
