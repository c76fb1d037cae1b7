// What a history can hold: the calls that the models know, and what their callers were told.

/** What a key can hold; null: nothing. Payloads are recorded by a name of theirs, such as an operation id. */
export type Value = string | number | null;

/** A register: one value a key, nothing at first. */
export interface RegisterRead {
  readonly model: "register";
  readonly key: string;
  readonly action: "read";
}
export interface RegisterWrite {
  readonly model: "register";
  readonly key: string;
  readonly action: "write";
  readonly value: Value;
}
export interface RegisterCas {
  readonly model: "register";
  readonly key: string;
  readonly action: "cas";
  readonly from: Value;
  readonly to: Value;
}
export type RegisterOperation = RegisterRead | RegisterWrite | RegisterCas;

/**
 * When a write of an entity must be accepted: always, where the key is empty (`absent`), where it is not (`present`), or as a rule
 * says that looks at more than this key (`ruled`: both answers are good).
 */
export type Condition = "always" | "absent" | "present" | "ruled";

/** An entity with a version, absent at first. */
export interface EntityPut {
  readonly model: "entity";
  readonly key: string;
  readonly action: "put";
  readonly value: string | number;
  readonly when: Condition;
}
export interface EntityRemove {
  readonly model: "entity";
  readonly key: string;
  readonly action: "remove";
  readonly when: Condition;
}
export interface EntityRead {
  readonly model: "entity";
  readonly key: string;
  readonly action: "read";
}
export type EntityOperation = EntityPut | EntityRemove | EntityRead;

/** What one account holds of one item kind, 0 at first, never below. A transfer is recorded as a call on each account. */
export interface BalancePost {
  readonly model: "balance";
  readonly key: string;
  readonly action: "post";
  /** A whole number, not 0; below 0 takes away. */
  readonly delta: number;
  /** `enough`: accepted wherever the account does not go below zero. `ruled`: may be refused for other reasons too. */
  readonly when: "enough" | "ruled";
}
export interface BalanceRead {
  readonly model: "balance";
  readonly key: string;
  readonly action: "read";
}
export type BalanceOperation = BalancePost | BalanceRead;

/** The lease on a region: nobody's at epoch 0 at first; it may run out at any time. */
export interface LeaseAcquire {
  readonly model: "lease";
  readonly key: string;
  readonly action: "acquire";
  readonly serverId: number;
}
/** `write` is any operation that carries the epoch as its fencing token. */
export interface LeaseUse {
  readonly model: "lease";
  readonly key: string;
  readonly action: "renew" | "release" | "write";
  readonly serverId: number;
  readonly epoch: number;
}
export interface LeaseRead {
  readonly model: "lease";
  readonly key: string;
  readonly action: "read";
}
export type LeaseOperation = LeaseAcquire | LeaseUse | LeaseRead;

/** Reads and writes of several keys, all or none. Checked for strict serializability, not key by key. */
export interface Transaction {
  readonly model: "transaction";
  /** Its name, which those that read from it give as the writer. */
  readonly id: string;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

export type KeyOperation = RegisterOperation | EntityOperation | BalanceOperation | LeaseOperation;
export type Operation = KeyOperation | Transaction;

/** A version of a key that a transaction saw. 0: nobody had written it. */
export interface SeenVersion {
  readonly key: string;
  readonly version: number;
  /** Id of the transaction that wrote it, where the store tells. */
  readonly writer?: string;
}

/** A version of a key that a transaction wrote; 1 or more. */
export interface WrittenVersion {
  readonly key: string;
  readonly version: number;
}

export type RegisterResult<O> = O extends RegisterRead ? { readonly value: Value } : O extends RegisterCas ? { readonly swapped: boolean } : Record<never, never>;
export type EntityResult<O> = O extends EntityRead
  ? { readonly value: Value; readonly version?: number }
  : { readonly decision: "accepted" | "rejected"; readonly version?: number };
export type BalanceResult<O> = O extends BalanceRead ? { readonly quantity: number } : { readonly decision: "accepted" | "rejected" };
/** Acquire: the epoch granted, or who holds it. The others: whether they were let through. Read: holder 0 is nobody. */
export type LeaseResult<O> = O extends LeaseUse
  ? { readonly decision: "accepted" | "rejected" }
  : O extends LeaseAcquire
    ? { readonly decision: "accepted"; readonly epoch: number } | { readonly decision: "rejected"; readonly epoch: number; readonly holder: number }
    : { readonly epoch: number; readonly holder: number };
export interface TransactionResult {
  readonly reads: readonly SeenVersion[];
  readonly writes: readonly WrittenVersion[];
}

/** What the caller of an operation is told where it is done. */
export type ResultOf<O> = O extends RegisterOperation
  ? RegisterResult<O>
  : O extends EntityOperation
    ? EntityResult<O>
    : O extends BalanceOperation
      ? BalanceResult<O>
      : O extends LeaseOperation
        ? LeaseResult<O>
        : TransactionResult;
