import { Entity } from "@statemesh/contract";
import { startPostgres } from "../../../tools/local-postgres.ts";
import { causalContract, type CausalStoreUnderTest } from "../../../packages/store/test/causal-contract.ts";
import { eventualContract } from "../../../packages/store/test/eventual-contract.ts";
import { materializationContract, type StoreUnderTest } from "../../../packages/store/test/materialization-contract.ts";
import { SqlCausal } from "../src/causal/sql-causal.ts";
import { SqlMaterialization } from "../src/entities/sql-materialization.ts";
import { Database } from "../src/sql/database.ts";
import { MIGRATIONS_FOLDER, migrate, readMigrations } from "../src/sql/migrations.ts";
import { CommitProxy } from "./commit-proxy.ts";

async function postgresql(): Promise<StoreUnderTest & CausalStoreUnderTest> {
  const postgres = await startPostgres();
  const proxy = await CommitProxy.start(postgres.port);
  const url = await postgres.createDatabase("contract");
  const open = (port: number) =>
    new Database({
      url: url.replace(`:${postgres.port}`, `:${port}`), poolSize: 8, reservedConnections: 1, bulkConnections: 2, waitingMax: 1_000, connectTimeoutMs: 20_000, statementTimeoutMs: 20_000, onIdleError: () => undefined,
    });
  const [first, second] = [open(proxy.port), open(postgres.port)];
  await migrate(second.consensus, await readMigrations(MIGRATIONS_FOLDER), Date.now);
  return {
    stores: [new SqlMaterialization(first.consensus), new SqlMaterialization(second.consensus)],
    causal: [new SqlCausal(first.consensus, first.query), new SqlCausal(second.consensus, second.query)],
    settle: (work) => work,
    async rows() {
      const all = async <Row extends object>(text: string) => await second.consensus.read<Row>({ text }, []);
      const entities = await all<{ payload: Buffer }>("SELECT payload FROM entities");
      const watermarks = await all<{ group_id: number; log_index: number }>("SELECT group_id, log_index FROM watermarks");
      const regions = await all<{ x: number; y: number; z: number; fence_epoch: number; owner_server_id: number }>("SELECT x, y, z, fence_epoch, owner_server_id FROM regions");
      return {
        owner: (await all<{ cluster_id: string }>("SELECT cluster_id FROM owning_cluster"))[0]?.cluster_id,
        watermarks: new Map(watermarks.map((row) => [row.group_id, row.log_index])),
        entities: entities.map(({ payload }) => Entity.decode(payload)),
        balances: await all('SELECT account_id AS "accountId", item_kind AS "itemKind", quantity, version FROM balances'),
        totals: await all('SELECT item_kind AS "itemKind", minted, burned FROM item_totals'),
        epochs: regions.map(({ x, y, z, fence_epoch, owner_server_id }) => ({ region: { x, y, z }, epoch: fence_epoch, ownerServerId: owner_server_id })),
      };
    },
    loseNextCommit: (what) => proxy.next(what === "request" ? "lose request" : "lose answer"),
    async close() {
      await first.close();
      await second.close();
      await proxy.stop();
      await postgres.stop();
    },
  };
}

materializationContract("PostgreSQL", postgresql);
causalContract("PostgreSQL", postgresql);
eventualContract("PostgreSQL", postgresql);
