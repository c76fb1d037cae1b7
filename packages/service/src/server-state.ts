import type { MeshError } from "@statemesh/contract";
import type { CallMetrics } from "./call-metrics.ts";
import type { Logger } from "./logger.ts";
import type { UnreadAnswers } from "./unread-answers.ts";

/** What all calls of one server share. */
export interface ServerState {
  readonly log: Logger;
  readonly metrics: CallMetrics;
  readonly maxMessageBytes: number;
  readonly unread: UnreadAnswers;
  shuttingDown: boolean;
  /** Each is called once, when the shutdown begins. */
  readonly shutdownListeners: Set<() => void>;
  /** Calls in flight: each ends its call with the error. */
  readonly activeCalls: Set<(error: MeshError) => void>;
}
