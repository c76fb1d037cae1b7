import type { CallMetrics } from "./call-metrics.ts";
import type { Logger } from "./logger.ts";

/** What all calls of one server share. */
export interface ServerState {
  readonly log: Logger;
  readonly metrics: CallMetrics;
  readonly maxMessageBytes: number;
  shuttingDown: boolean;
  /** Each is called once, when the shutdown begins. */
  readonly shutdownListeners: Set<() => void>;
}
