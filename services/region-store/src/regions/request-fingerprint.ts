import { createHash } from "node:crypto";
import { DeleteRegionRequest, PatchRegionRequest, type RegionWrite, StoreRegionRequest, TransactRegionsRequest } from "@statemesh/contract";
import { compareUtf8 } from "@statemesh/world";

/** Which call a request id was used with: the same id in another call is another content. */
export type WriteCall = "StoreRegion" | "PatchRegion" | "DeleteRegion" | "TransactRegions";

/** SHA-256 over everything that the writes say but their request ids; independent of the order of maps. */
export function requestFingerprint(call: WriteCall, writes: readonly RegionWrite[]): Buffer {
  const canonical = TransactRegionsRequest.encode({ writes: writes.map(canonicalWrite), requestId: "" }).finish();
  return createHash("sha256").update(call).update("\0").update(canonical).digest();
}

function canonicalWrite({ write }: RegionWrite): RegionWrite {
  switch (write?.$case) {
    case undefined:
      return { write: undefined };
    case "store":
      return { write: { $case: "store", value: StoreRegionRequest.fromPartial({ ...write.value, attributes: sorted(write.value.attributes), requestId: "" }) } };
    case "patch":
      return { write: { $case: "patch", value: PatchRegionRequest.fromPartial({ ...write.value, setAttributes: sorted(write.value.setAttributes), requestId: "" }) } };
    case "delete":
      return { write: { $case: "delete", value: DeleteRegionRequest.fromPartial({ ...write.value, requestId: "" }) } };
  }
}

function sorted(map: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...map].sort(([a], [b]) => compareUtf8(a, b)));
}
