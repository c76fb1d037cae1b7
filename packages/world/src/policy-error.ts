/** One thing that is wrong with a policy file. */
export interface PolicyProblem {
  /** From 1. */
  readonly line: number;
  /** Path of the field, such as `types.spell.chain[1]`; empty for the file as a whole. */
  readonly field: string;
  /** What must hold. */
  readonly rule: string;
}

/** A policy file that can't be used. Names every problem found, the first one also by itself. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly fileName: string;
  readonly problems: readonly PolicyProblem[];
  readonly line: number;
  readonly field: string;
  readonly rule: string;

  constructor(fileName: string, problems: readonly [PolicyProblem, ...PolicyProblem[]]) {
    super(problems.map((p) => `${fileName}:${p.line}: ${p.field === "" ? "" : `${p.field}: `}${p.rule}`).join("\n"));
    this.fileName = fileName;
    this.problems = problems;
    this.line = problems[0].line;
    this.field = problems[0].field;
    this.rule = problems[0].rule;
  }
}
