/** What other nodes send, and must be refused. */
import { InstallSnapshotRequest, type Reason, StreamRequest } from "@statemesh/contract";
import { LOCAL_CLUSTER } from "../../tools/mesh-processes.ts";
import type { Of } from "./bad-requests.ts";
import { bytesField, fixed32Field, varintField } from "./raw-call.ts";

const PAST_2_53 = 2n ** 53n;
/** CRC-32C of the four bytes `junk`. */
const CRC_OF_JUNK = 0x9cd3ff3a;

/** Every message here is of nobody, of a stranger, or no snapshot. */
export function badPeerRequests(of: Of): void {
  of("RaftPeerService/Stream", (cases) => {
    const hello = { protocolMin: 1, protocolMax: 1, nodeId: 2, clusterId: LOCAL_CLUSTER, clientAddress: "127.0.0.1:1", groups: 4 };
    const add = (name: string, object: object): void => cases.add<StreamRequest>(StreamRequest, name, "PEER_REFUSED", undefined, object);
    add("no hello", { raft: [{ groupId: 1, from: 2, to: 1, term: 1_000_000 }] });
    add("a hello of another cluster", { hello: { ...hello, clusterId: "another" } });
    add("a hello of a protocol of tomorrow", { hello: { ...hello, protocolMin: 99, protocolMax: 100 } });
    add("a hello of a node that is no member", { hello: { ...hello, nodeId: 77 } });
    add("a hello in the receiver's own name", { hello: { ...hello, nodeId: 1 } });
    add("a hello with other groups", { hello: { ...hello, groups: 5 } });
    cases.raw("a term beyond 2^53", "MALFORMED_MESSAGE", undefined, [bytesField(2, varintField(5, PAST_2_53))]);
  });
  of("RaftPeerService/Identify", () => undefined);
  of("RaftPeerService/InstallSnapshot", (cases) => {
    const header = { groupId: 1, type: 9, from: 2, to: 1, term: 1, logIndex: 1_000_000, logTerm: 1 };
    const meta = { groupId: 1, index: 1_000_000, term: 1, voters: [1, 2, 3], size: 4 };
    const chunk = Buffer.from("junk");
    const hello = { protocolMin: 1, protocolMax: 99, nodeId: 2, clusterId: LOCAL_CLUSTER, groups: 4, decisionWindow: 131_072 };
    const add = (name: string, reason: Reason, field: string | undefined, object: object): void => cases.add<InstallSnapshotRequest>(InstallSnapshotRequest, name, reason, field, { hello, ...object });
    cases.raw("nothing", "INVALID_FIELD", "meta", []);
    add("no hello", "PEER_REFUSED", undefined, { header, meta, chunk, crc32c: CRC_OF_JUNK, hello: undefined });
    add("a hello of another cluster", "PEER_REFUSED", undefined, { header, meta, chunk, crc32c: CRC_OF_JUNK, hello: { ...hello, clusterId: "another" } });
    add("a sender that is not who says hello", "PEER_REFUSED", undefined, { header: { ...header, from: 3 }, meta, chunk, crc32c: CRC_OF_JUNK });
    add("for another node", "PEER_REFUSED", undefined, { header: { ...header, to: 3 }, meta, chunk, crc32c: CRC_OF_JUNK });
    add("no meta", "INVALID_FIELD", "meta", { header, chunk });
    add("no header", "PEER_REFUSED", undefined, { meta, chunk });
    add("a chunk that begins late", "INVALID_FIELD", "offset", { header, meta, chunk, offset: 5 });
    add("a chunk that fails its checksum", "INVALID_FIELD", "crc32c", { header, meta, chunk, crc32c: 1 });
    add("a group that is not there", "INVALID_FIELD", "meta.group_id", { header: { ...header, groupId: 99 }, meta: { ...meta, groupId: 99 }, chunk, crc32c: CRC_OF_JUNK });
    const whole = (name: string, reason: Reason, field: string | undefined, it: object, more: Buffer = fixed32Field(5, CRC_OF_JUNK)): void => cases.add<InstallSnapshotRequest>(InstallSnapshotRequest, name, reason, field, { hello, header, meta, chunk, ...it }, more);
    whole("less than it says", "INVALID_FIELD", "meta.size", { meta: { ...meta, size: 5 } });
    whole("nonsense", "INVALID_FIELD", "chunk", {});
    whole("nonsense with good checksums", "INVALID_FIELD", "chunk", { meta: { ...meta, crc32c: CRC_OF_JUNK } });
    whole("a header of another group", "INVALID_FIELD", "header.group_id", { header: { ...header, groupId: 2 }, meta: { ...meta, crc32c: CRC_OF_JUNK } });
    cases.raw("a size beyond 2^53", "MALFORMED_MESSAGE", undefined, [bytesField(2, varintField(6, PAST_2_53))]);
  });
}
