import { causalContract, type CausalStoreUnderTest } from "../../store/test/causal-contract.ts";
import { eventualContract } from "../../store/test/eventual-contract.ts";
import { materializationContract, type StoreUnderTest } from "../../store/test/materialization-contract.ts";
import { materializedRows, SimCausal, SimMaterialization, SimSql, SimSqlClient, SimTimers, Simulation } from "../src/index.ts";

/** Seeds differ from run to run; a failure names its own. */
const SEED = Number(process.env["SIM_SEED"] ?? Date.now() % 1_000_000);

async function simulated(): Promise<StoreUnderTest & CausalStoreUnderTest> {
  const simulation = new Simulation(SEED);
  const sql = new SimSql(simulation);
  const process = () => new SimMaterialization(new SimSqlClient(sql), new SimTimers(simulation), simulation.random.fork());
  const causal = () => new SimCausal(new SimSqlClient(sql), new SimTimers(simulation), simulation.random.fork());
  return {
    stores: [process(), process()],
    causal: [causal(), causal()],
    settle: (work) => simulation.settle(work),
    rows: async () => materializedRows(sql),
    loseNextCommit: (what) => sql.nextCommit(what === "request" ? "lose request" : "lose answer"),
    close: async () => undefined,
  };
}

materializationContract(`a simulated database (seed ${SEED})`, simulated);
causalContract(`a simulated database (seed ${SEED})`, simulated);
eventualContract(`a simulated database (seed ${SEED})`, simulated);
