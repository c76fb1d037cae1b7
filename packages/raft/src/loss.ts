/** The end of a group's log; index 0 and term 0 where it is empty. */
export interface LogEnd {
  readonly index: number;
  readonly term: number;
}

/**
 * What a replica must remember of a part of its log that was damaged. Until its log has grown to `end` again, it may have
 * acknowledged entries that it does not hold.
 */
export interface Loss {
  /** The end of the log that was. */
  readonly end: LogEnd;
  /** False: the log may have reached further than `end`. */
  readonly isEndKnown: boolean;
  /** False: a later term, and a vote in it, may be forgotten. */
  readonly isVoteKnown: boolean;
}

/** Whether a log that ends in `a` is newer than one that ends in `b`: by term, then by index. */
export function isLater(a: LogEnd, b: LogEnd): boolean {
  return a.term > b.term || (a.term === b.term && a.index > b.index);
}
