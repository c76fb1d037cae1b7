import { balanceModel } from "./balance-model.ts";
import { entityModel } from "./entity-model.ts";
import type { Fields } from "./fields.ts";
import { leaseModel } from "./lease-model.ts";
import type { Operation, SeenVersion, Transaction, TransactionResult, WrittenVersion } from "./operations.ts";
import { registerModel } from "./register-model.ts";

/** Reads an operation as it stands in a history. Throws HistoryError. */
export function readOperation(fields: Fields): Operation {
  const model = fields.oneOf("model", ["register", "entity", "balance", "lease", "transaction"]);
  switch (model) {
    case "register":
      return registerModel.readOperation(fields, fields.text("key"));
    case "entity":
      return entityModel.readOperation(fields, fields.text("key"));
    case "balance":
      return balanceModel.readOperation(fields, fields.text("key"));
    case "lease":
      return leaseModel.readOperation(fields, fields.text("key"));
    case "transaction":
      return { model, id: fields.text("id"), reads: fields.texts("reads"), writes: fields.texts("writes") };
  }
}

/** Reads the result of an operation. Throws HistoryError. */
export function readResult(operation: Operation, fields: Fields): object {
  switch (operation.model) {
    case "register":
      return registerModel.readResult(operation, fields);
    case "entity":
      return entityModel.readResult(operation, fields);
    case "balance":
      return balanceModel.readResult(operation, fields);
    case "lease":
      return leaseModel.readResult(operation, fields);
    case "transaction":
      return readTransactionResult(operation, fields);
  }
}

function readTransactionResult(transaction: Transaction, fields: Fields): TransactionResult {
  const reads = fields.objects("reads").map((each): SeenVersion => {
    const key = each.text("key");
    if (!transaction.reads.includes(key)) each.refuse("key", "must be one of the transaction's reads");
    const seen = { key, version: each.whole("version", 0), ...(each.has("writer") ? { writer: each.text("writer") } : {}) };
    each.end();
    return seen;
  });
  const writes = fields.objects("writes").map((each): WrittenVersion => {
    const key = each.text("key");
    if (!transaction.writes.includes(key)) each.refuse("key", "must be one of the transaction's writes");
    const written = { key, version: each.whole("version", 1) };
    each.end();
    return written;
  });
  return { reads, writes };
}
