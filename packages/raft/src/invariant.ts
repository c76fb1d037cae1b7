/** A rule of the protocol does not hold: a defect of this program or damaged state, never an operational error. The node must stop. */
export class RaftInvariantError extends Error {
  override readonly name = "RaftInvariantError";
}

/** Throws a RaftInvariantError where `holds` is false. Keep `rule` a constant on hot paths. */
export function invariant(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new RaftInvariantError(rule);
}
