const INCARNATIONS = 0x1_0000_0000;

/**
 * The origin of a node's events: `node_id << 32 | incarnation`, below 2^53.
 * @param nodeId 1..2^21-1
 * @param incarnation 1..2^32-1, greater with every start of the node
 */
export function originOf(nodeId: number, incarnation: number): number {
  if (!Number.isInteger(nodeId) || nodeId < 1 || nodeId >= 2 ** 21) throw new RangeError("node id must be 1..2^21-1");
  if (!Number.isInteger(incarnation) || incarnation < 1 || incarnation >= INCARNATIONS) throw new RangeError("incarnation must be 1..2^32-1");
  return nodeId * INCARNATIONS + incarnation;
}

export function nodeOfOrigin(origin: number): number {
  return Math.floor(origin / INCARNATIONS);
}

/** Whether a number has the form of an origin. */
export function isOrigin(value: number): boolean {
  return Number.isSafeInteger(value) && value > INCARNATIONS && value % INCARNATIONS !== 0;
}
