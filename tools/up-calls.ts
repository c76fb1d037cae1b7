/** Calls to try on a running mesh, for grpcurl and for the `buf curl` that the project brings along. */

interface Call {
  readonly what: string;
  readonly method: string;
  readonly body: string;
}

const NODE_CALLS: readonly Call[] = [
  { what: "Who owns a place", method: "statemesh.v1.AuthorityDirectoryService/Route", body: '{"region_text":"region_0_0_0"}' },
  { what: "What is in a region", method: "statemesh.v1.ConsistencyService/Read", body: '{"region":{"x":0,"y":0,"z":0},"page_size":5}' },
  { what: "How the cluster is", method: "statemesh.v1.ClusterAdminService/GetStatus", body: "{}" },
  { what: "Items are conserved", method: "statemesh.v1.ClusterAdminService/VerifyConservation", body: "{}" },
];
const ARBITER_CALLS: readonly Call[] = [
  { what: "What the rules decided", method: "statemesh.v1.ConflictArbiterService/GetStatistics", body: "{}" },
];
const STORE_CALLS: readonly Call[] = [
  { what: "A region as stored", method: "statemesh.v1.RegionStoreService/LoadRegion", body: '{"region_text":"region_0_0_0","without_layer_data":true,"without_entities":true}' },
  { what: "Structures near a point", method: "statemesh.v1.RegionStoreService/QueryEntities", body: '{"query":{"sphere":{"center":{"x":2000,"y":0,"z":1800},"radius":400}},"kinds":["structure"],"page_size":3}' },
];

/** Lines that show calls to every service. */
export function callLines(node: string, arbiter: string | undefined, store: string | undefined): string[] {
  const services: [string, readonly Call[]][] = [[node, NODE_CALLS]];
  if (arbiter !== undefined) services.push([arbiter, ARBITER_CALLS]);
  if (store !== undefined) services.push([store, STORE_CALLS]);
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
