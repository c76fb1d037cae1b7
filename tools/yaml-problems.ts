/** YAML files of people: everything that is wrong is told with file, line, column, field and rule. */
import { isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

/** One thing that is wrong with a file. */
export interface YamlProblem {
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** Path of the field, such as `paths[0].speed`; empty for the file as a whole. */
  readonly field: string;
  /** What must hold. */
  readonly rule: string;
}

/** A file that can't be used. */
export class YamlFileError extends Error {
  override readonly name = "YamlFileError";
  readonly fileName: string;
  readonly problems: readonly YamlProblem[];

  constructor(fileName: string, problems: readonly YamlProblem[]) {
    super(problems.map((p) => `${fileName}:${p.line}:${p.column}: ${p.field === "" ? "" : `${p.field}: `}${p.rule}`).join("\n"));
    this.fileName = fileName;
    this.problems = problems;
  }
}

type Path = readonly PropertyKey[];

function formatPath(path: Path): string {
  let text = "";
  for (const part of path) text += typeof part === "number" ? `[${part}]` : `${text === "" ? "" : "."}${String(part)}`;
  return text;
}

/** The node that a path names, or the deepest part of the way that is there. */
function nodeAt(root: unknown, path: Path): Node | undefined {
  let deepest = isNode(root) ? root : undefined;
  let at: unknown = root;
  for (const part of path) {
    if (isMap(at)) {
      const pair = at.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
      if (pair === undefined) return deepest;
      at = pair.value;
      if (isNode(at)) deepest = at;
      else if (isNode(pair.key)) deepest = pair.key;
    } else if (isSeq(at) && typeof part === "number") {
      at = at.items[part];
      if (isNode(at)) deepest = at;
    } else {
      return deepest;
    }
  }
  return deepest;
}

/** Collects what is wrong with one file. */
export class YamlProblems {
  readonly #fileName: string;
  readonly #root: unknown;
  readonly #lines: LineCounter;
  readonly #found: YamlProblem[] = [];

  constructor(fileName: string, root: unknown, lines: LineCounter) {
    this.#fileName = fileName;
    this.#root = root;
    this.#lines = lines;
  }

  /** @param path of the field; one that is missing is shown where it should be */
  add(path: Path, rule: string): void {
    this.addAt(nodeAt(this.#root, path)?.range?.[0] ?? 0, formatPath(path), rule);
  }

  addAt(offset: number, field: string, rule: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.#found.push({ line: Math.max(1, line), column: Math.max(1, col), field, rule });
  }

  /** @throws YamlFileError with everything found, in the order of the file */
  throwIfAny(): void {
    if (this.#found.length === 0) return;
    throw new YamlFileError(this.#fileName, this.#found.toSorted((a, b) => a.line - b.line || a.column - b.column));
  }
}

/**
 * Parses YAML.
 *
 * @throws YamlFileError where it is too long or no YAML
 */
export function readYaml(text: string, fileName: string, charactersMax: number): { content: unknown; problems: YamlProblems } {
  if (text.length > charactersMax) {
    throw new YamlFileError(fileName, [{ line: 1, column: 1, field: "", rule: `must be at most ${charactersMax} characters` }]);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems = new YamlProblems(fileName, document.contents, lines);
  for (const error of [...document.errors, ...document.warnings]) problems.addAt(error.pos[0], "", error.message);
  problems.throwIfAny();
  try {
    return { content: document.toJS(), problems };
  } catch (error) {
    // The library gives up on aliases that multiply without end.
    throw new YamlFileError(fileName, [{ line: 1, column: 1, field: "", rule: error instanceof Error ? error.message : String(error) }]);
  }
}
