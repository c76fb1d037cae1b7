import { Metadata, type ServiceError } from "@grpc/grpc-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Any, ErrorInfo, Status } from "../src/google-rpc.ts";
import { Code, MeshError, meshErrorFromServiceError, Reasons, statusFromMeshError, type Reason } from "../src/index.ts";

function serviceError(code: number, details: string, metadata: Metadata = new Metadata()): ServiceError {
  return Object.assign(new Error(`${code}: ${details}`), { code, details, metadata });
}

function back(error: MeshError): MeshError {
  const { code, details, metadata } = statusFromMeshError(error);
  return meshErrorFromServiceError(serviceError(code, details, metadata), { writes: true });
}

test("every reason comes back as it was sent, with its code", () => {
  for (const reason of Object.keys(Reasons) as Reason[]) {
    const error = back(new MeshError(reason, `about ${reason}`, { metadata: { a: "b" }, field: "x.y", retryDelayMs: 1250 }));
    expect(error).toMatchObject({ reason, code: Reasons[reason], message: `about ${reason}`, metadata: { a: "b" }, field: "x.y", retryDelayMs: 1250 });
  }
});

test("what is sent fits into headers, whatever the error holds", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 5000 }), fc.dictionary(fc.string(), fc.string({ unit: "binary", maxLength: 5000 }), { maxKeys: 40 }), (message, metadata) => {
      const status = statusFromMeshError(new MeshError("NOT_FOUND", message, { metadata, field: message }));
      const trailer = status.metadata.get("grpc-status-details-bin")[0];
      const base64 = Buffer.isBuffer(trailer) ? trailer.toString("base64") : "";
      expect(base64.length + encodeURI(status.details).length).toBeLessThan(7 * 1024);
      expect(back(new MeshError("NOT_FOUND", message, { metadata })).reason).toBe("NOT_FOUND");
    }),
  );
});

test.each([
  [Code.UNAVAILABLE, "UNREACHABLE"],
  [Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"],
  [Code.CANCELLED, "CANCELLED"],
  [Code.RESOURCE_EXHAUSTED, "OVERLOADED"],
  [Code.INTERNAL, "INTERNAL"],
  [Code.UNKNOWN, "INTERNAL"],
])("a broken transport (code %i) leaves a write open and gives a read %s", (code, reason) => {
  expect(meshErrorFromServiceError(serviceError(code, "broken"), { writes: true }).reason).toBe("OUTCOME_UNKNOWN");
  expect(meshErrorFromServiceError(serviceError(code, "broken"), { writes: false }).reason).toBe(reason);
});

test("a method that is not there is the peer's refusal, also of a write", () => {
  expect(meshErrorFromServiceError(serviceError(Code.UNIMPLEMENTED, "no such method"), { writes: true }).reason).toBe("PEER_REFUSED");
});

test("details that are damaged, or of somebody else, are not taken for an answer", () => {
  const damaged = new Metadata();
  damaged.set("grpc-status-details-bin", Buffer.from([0xff, 0xff, 0xff]));
  expect(meshErrorFromServiceError(serviceError(Code.UNAVAILABLE, "x", damaged), { writes: true }).reason).toBe("OUTCOME_UNKNOWN");
  for (const info of [
    { reason: "FENCED", domain: "elsewhere", metadata: new Map<string, string>() },
    { reason: "NO_SUCH_REASON", domain: "statemesh", metadata: new Map<string, string>() },
    { reason: "toString", domain: "statemesh", metadata: new Map<string, string>() },
  ]) {
    const detail = Any.fromPartial({ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: Buffer.from(ErrorInfo.encode(info).finish()) });
    const foreign = new Metadata();
    foreign.set("grpc-status-details-bin", Buffer.from(Status.encode({ code: 9, message: "x", details: [detail] }).finish()));
    expect(meshErrorFromServiceError(serviceError(Code.FAILED_PRECONDITION, "x", foreign), { writes: true }).reason).toBe("OUTCOME_UNKNOWN");
  }
});
