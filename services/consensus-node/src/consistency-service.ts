// The calls of a game shard.
import { MeshError } from "@statemesh/contract";
import { isBulkRead, type MeshNode } from "@statemesh/mesh";
import { type Answer, listContainersFrom, publishInSession, readInSession, readSnapshotFrom } from "@statemesh/node";
import { SystemTimers } from "@statemesh/ports";
import { type CallContext, type Respond, type ServiceBinding, bidiStream, bindService, serverStream, unaryCallback } from "@statemesh/service";
import type { BulkCalls } from "./bulk-calls.ts";
import { deadlineOf } from "./deadlines.ts";
import { execute, executeStream, transact } from "./execute.ts";
import { CONSISTENCY_WITH_BYTES, SubscriptionStreams } from "./subscribe.ts";

export interface ConsistencyNode {
  readonly mesh: MeshNode;
  readonly bulk: BulkCalls;
  readonly defaultDeadlineMs: number;
  /** The node's disk takes no writes. */
  isDiskFull(): boolean;
}

export function consistencyService(node: ConsistencyNode): ServiceBinding {
  const { mesh, bulk, defaultDeadlineMs } = node;
  const streams = new SubscriptionStreams(mesh);
  const timers = new SystemTimers();
  const deadline = (context: CallContext): number => deadlineOf(context, mesh.host.clock.monotonicMs(), defaultDeadlineMs);
  const refuseOnFullDisk = (): void => {
    if (node.isDiskFull()) throw new MeshError("LOG_FULL", "the disk of this node is full", { retryDelayMs: 1_000 });
  };
  return bindService(CONSISTENCY_WITH_BYTES, {
    execute: unaryCallback((request, context, respond) => {
      refuseOnFullDisk();
      execute(mesh, defaultDeadlineMs, request, context, respond);
    }),
    executeStream: bidiStream((requests, responses, context) => {
      refuseOnFullDisk();
      executeStream(mesh, defaultDeadlineMs, requests, responses, context);
    }),
    transact: unaryCallback((request, context, respond) => {
      refuseOnFullDisk();
      transact(mesh, defaultDeadlineMs, request, context, respond);
    }),
    publish: unaryCallback((request, context, respond) => publishInSession(mesh, timers, request, deadline(context), answerOf(respond, context))),
    subscribe: serverStream((request, responses, context) => streams.open(request, responses, context)),
    subscribeStream: bidiStream((requests, responses, context) => streams.openStream(requests, responses, context)),
    read: unaryCallback((request, context, respond) => {
      const deadlineMs = deadline(context);
      if (isBulkRead(request)) {
        const slices = bulk.slices(context, respond);
        readInSession(mesh, timers, request, deadlineMs, answerOf(slices.respond, context), slices.turn);
      } else readInSession(mesh, timers, request, deadlineMs, answerOf(respond, context));
    }),
    readSnapshot: unaryCallback((request, context, respond) => {
      const slices = bulk.slices(context, respond);
      readSnapshotFrom(mesh, request, deadline(context), answerOf(slices.respond, context), slices.turn);
    }),
    listContainers: unaryCallback((request, context, respond) => {
      const slices = bulk.slices(context, respond);
      listContainersFrom(mesh, request, deadline(context), answerOf(slices.respond, context), slices.turn);
    }),
  });
}

function answerOf<Response>(respond: Respond<Response>, context: CallContext): Answer<Response> {
  return { done: respond, fail: (error) => respond.fail(error), isGone: () => context.cancelled };
}
