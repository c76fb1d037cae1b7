import { type Code, type Reason, Reasons } from "./reasons.ts";

/** What a MeshError may carry beyond its reason. */
export interface MeshErrorDetails {
  /** For programs; travels in `google.rpc.ErrorInfo.metadata`. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Path of the field that is wrong, such as `operation.home_region.x`; travels in `google.rpc.BadRequest`. */
  readonly field?: string;
  /** Milliseconds to wait before a retry; travels in `google.rpc.RetryInfo`. */
  readonly retryDelayMs?: number;
  /** The error behind this one. Logged, never sent. */
  readonly cause?: unknown;
}

/** The one error class that crosses a process border. Its reason decides the gRPC code. */
export class MeshError extends Error {
  override readonly name = "MeshError";
  /** What happened, of a closed set. */
  readonly reason: Reason;
  /** For programs: what the reason says there is, such as `current_epoch`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Path of the field that is wrong. */
  readonly field: string | undefined;
  /** Milliseconds to wait before a retry. */
  readonly retryDelayMs: number | undefined;

  constructor(reason: Reason, message: string, details: MeshErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.reason = reason;
    this.metadata = details.metadata ?? {};
    this.field = details.field;
    this.retryDelayMs = details.retryDelayMs;
  }

  get code(): Code {
    return Reasons[this.reason];
  }

  /** INVALID_FIELD, naming the field and the rule it breaks. */
  static field(field: string, rule: string): MeshError {
    return new MeshError("INVALID_FIELD", `${field}: ${rule}`, { field, metadata: { field, rule } });
  }

  /** Any thrown value as a MeshError; what is not one already is a defect, INTERNAL. */
  static from(error: unknown): MeshError {
    if (error instanceof MeshError) return error;
    return new MeshError("INTERNAL", "internal error", { cause: error });
  }
}
