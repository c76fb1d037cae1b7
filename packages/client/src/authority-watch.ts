/** Who owns what, as it changes. */
import { Metadata } from "@grpc/grpc-js";
import type { Region, WatchResponse } from "@statemesh/contract";
import type { CompiledClientOptions } from "./client-options.ts";
import type { NodePool } from "./node-pool.ts";
import type { StreamLimits } from "./reopening-stream.ts";
import { ResumingStream } from "./resuming-stream.ts";

/** What to watch. Nothing named: every region. */
export interface WatchTarget extends StreamLimits {
  /** At most 343 regions. */
  readonly regions?: readonly Region[];
  /** What concerns this server. */
  readonly serverId?: number;
  /** Also who is beside them. */
  readonly neighbours?: boolean;
  /** Continue after this token of an earlier watch. */
  readonly resumeToken?: string;
}

/** A snapshot of the directory, then its changes, as ResumingStream says. */
export class AuthorityWatch extends ResumingStream<WatchResponse> {
  constructor(pool: NodePool, options: CompiledClientOptions, target: WatchTarget) {
    const { regions = [], serverId = 0, neighbours = false } = target;
    super(
      pool,
      options,
      (node, resumeToken) => node.authority.watch({ regions: [...regions], serverId, neighbours, resumeToken }, new Metadata(), {}),
      target.resumeToken ?? "",
      target,
    );
  }
}
