/** A history that contradicts its own format. Names the line where it came from a text, the field and the rule. */
export class HistoryError extends Error {
  override readonly name = "HistoryError";
  /** From 1; 0 where the history was not read from lines. */
  readonly line: number;
  /** Path of the field, such as `result.version`; empty for the line as a whole. */
  readonly field: string;
  /** What must hold. */
  readonly rule: string;

  constructor(line: number, field: string, rule: string) {
    super(`${line === 0 ? "" : `line ${line}: `}${field === "" ? "" : `${field}: `}${rule}`);
    this.line = line;
    this.field = field;
    this.rule = rule;
  }
}
