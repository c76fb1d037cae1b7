/** Calls to try on a running mesh, for grpcurl and for the `buf curl` that the project brings along. */
import type { Position, Region } from "@statemesh/contract";
import { formatRegion, regionOf } from "@statemesh/world";

interface Call {
  readonly what: string;
  readonly method: string;
  readonly body: string;
}

function nodeCalls(region: Region): Call[] {
  return [
    { what: "Who owns a place", method: "statemesh.v1.AuthorityDirectoryService/Route", body: `{"region_text":"${formatRegion(region)}"}` },
    { what: "What is in a region", method: "statemesh.v1.ConsistencyService/Read", body: `{"region":${JSON.stringify(region)},"page_size":5}` },
    { what: "How the cluster is", method: "statemesh.v1.ClusterAdminService/GetStatus", body: "{}" },
    { what: "Items are conserved", method: "statemesh.v1.ClusterAdminService/VerifyConservation", body: "{}" },
  ];
}

const ARBITER_CALLS: readonly Call[] = [
  { what: "What the rules decided", method: "statemesh.v1.ConflictArbiterService/GetStatistics", body: "{}" },
];

function storeCalls(region: Region, center: Position): Call[] {
  const load = `{"region_text":"${formatRegion(region)}","without_layer_data":true,"without_entities":true}`;
  const query = `{"query":{"sphere":{"center":${JSON.stringify(center)},"radius":400}},"kinds":["structure"],"page_size":3}`;
  return [
    { what: "A region as stored", method: "statemesh.v1.RegionStoreService/LoadRegion", body: load },
    { what: "Structures near a point", method: "statemesh.v1.RegionStoreService/QueryEntities", body: query },
  ];
}

/**
 * Lines that show calls to every service.
 *
 * @param near a point of the world where something is
 */
export function callLines(node: string, arbiter: string | undefined, store: string | undefined, near: Position): string[] {
  const region = regionOf(near);
  const services: [string, readonly Call[]][] = [[node, nodeCalls(region)]];
  if (arbiter !== undefined) services.push([arbiter, ARBITER_CALLS]);
  if (store !== undefined) services.push([store, storeCalls(region, near)]);
  const all = services.flatMap(([address, calls]) => calls.map((call) => ({ address, ...call })));
  return [
    "Calls to try with grpcurl:",
    `  grpcurl -plaintext ${node} list`,
    ...all.flatMap(({ address, what, method, body }) => [`  # ${what}`, `  grpcurl -plaintext -d '${body}' ${address} ${method}`]),
    "",
    "The same with the buf that the project brings along:",
    ...all.map(({ address, method, body }) => `  node_modules/.bin/buf curl --protocol grpc --http2-prior-knowledge -d '${body}' http://${address}/${method}`),
  ];
}
