// A node that joins asks the nodes that it was told of to take it in, until one does. From then on it is the cluster's turn:
// its members come by with the new node's place.
import { ClusterAdminServiceClient, ClusterAdminServiceService, MeshError } from "@statemesh/contract";
import { type Logger, call, connect } from "@statemesh/service";

const RETRY_MS = 1_000;
/** A node that is asked asks this one back, and group 0. */
const TIMEOUT_MS = 8_000;

export class JoinRequest {
  readonly #through: readonly string[];
  readonly #address: string;
  readonly #nodeId: number;
  readonly #log: Logger;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;
  #said = "";

  /** @param address Where this node is reached. @param nodeId The id that it wants; 0: the next. */
  constructor(through: readonly string[], address: string, nodeId: number, log: Logger) {
    this.#through = through;
    this.#address = address;
    this.#nodeId = nodeId;
    this.#log = log;
  }

  begin(): void {
    if (this.#through.length > 0) void this.#ask(0);
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  async #ask(turn: number): Promise<void> {
    const through = this.#through[turn % this.#through.length] ?? "";
    const client = connect(ClusterAdminServiceClient, through, { ownConnection: true });
    try {
      const request = { address: this.#address, nodeId: this.#nodeId, changeId: "", dryRun: false };
      const { change } = await call(client, ClusterAdminServiceService.addMember, request, { timeoutMs: TIMEOUT_MS, writes: true });
      this.#say("info", "the cluster takes this node in", { through, nodeId: change?.added?.nodeId ?? 0, change: change?.changeId ?? "" });
    } catch (error) {
      const { reason, message } = MeshError.from(error);
      this.#say("warn", "the cluster does not take this node in yet", { through, reason, message });
    } finally {
      client.close();
    }
    // Asked again all the same: it is the same change, and it may be cancelled.
    if (!this.#isOver) this.#timer = setTimeout(() => void this.#ask(turn + 1), RETRY_MS);
  }

  /** Once, however often it is so. */
  #say(level: "info" | "warn", text: string, fields: Readonly<Record<string, unknown>>): void {
    const said = `${text} ${JSON.stringify({ ...fields, through: "" })}`;
    if (said === this.#said) return;
    this.#said = said;
    this.#log[level](fields, text);
  }
}
