// The way to one arbiter over gRPC.
import { credentials, Metadata } from "@grpc/grpc-js";
import { type ArbitrateRequest, type ArbitrateResponse, ConflictArbiterServiceClient, meshErrorFromServiceError, PartitionServiceClient, type ReportHeartbeatsRequest, type ReportHeartbeatsResponse } from "@statemesh/contract";
import type { ArbiterPort } from "@statemesh/node";
import { connect } from "@statemesh/service";

const NO_METADATA = new Metadata();
const RECONNECT_MAX_MS = 500;

export class ArbiterLink implements ArbiterPort {
  readonly address: string;
  readonly #client: ConflictArbiterServiceClient;
  readonly #partitions: PartitionServiceClient;

  constructor(address: string) {
    this.address = address;
    this.#client = connect(ConflictArbiterServiceClient, address, { ownConnection: true, reconnectMaxMs: RECONNECT_MAX_MS });
    this.#partitions = new PartitionServiceClient(address, credentials.createInsecure(), { channelOverride: this.#client.getChannel() });
  }

  ask(request: ArbitrateRequest, timeoutMs: number, answered: (response: ArbitrateResponse) => void, failed: (reason: string, otherPolicy?: boolean) => void): void {
    this.#client.arbitrate(request, NO_METADATA, { deadline: Date.now() + timeoutMs }, (error, response) => {
      if (error === null) answered(response);
      else failed(error.details, meshErrorFromServiceError(error, { writes: false }).reason === "POLICY_MISMATCH");
    });
  }

  report(request: ReportHeartbeatsRequest, timeoutMs: number, done: (response: ReportHeartbeatsResponse | undefined) => void): void {
    this.#partitions.reportHeartbeats(request, NO_METADATA, { deadline: Date.now() + timeoutMs }, (error, response) => done(error === null ? response : undefined));
  }

  close(): void {
    this.#client.close();
  }
}
