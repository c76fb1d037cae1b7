/** What one replica needs of Redis. Commands time out by themselves; every failure is thrown. */
export interface RedisPort {
  /** Whether a command can be sent now. */
  readonly isReady: boolean;
  get(key: string): Promise<Uint8Array | null>;
  /** The value, else a lease in one step: the token that is there, else `token`, which then stands for `leaseMs`. */
  getOrLease(value: string, lease: string, token: Uint8Array, leaseMs: number): Promise<{ readonly value: Uint8Array } | { readonly value: undefined; readonly token: Uint8Array }>;
  /** Sets the value for `ttlMs`, in one step and only where the lease still has this token. */
  fill(value: string, lease: string, token: Uint8Array, content: Uint8Array, ttlMs: number): Promise<void>;
  /** Deletes keys, then publishes to all that are subscribed. */
  remove(keys: readonly string[], channel: string, message: string): Promise<void>;
  /** Deletes every key that begins so, then publishes. */
  removeAll(prefix: string, channel: string, message: string): Promise<void>;
  subscribe(channel: string): Promise<void>;
  /** Whether the connection of the subscription answers. */
  pingSubscriber(): Promise<void>;
  /** Breaks the connection of the subscription, and opens another. */
  reconnectSubscriber(): void;
  close(): void;
}

/** What comes from Redis by itself. */
export interface RedisEvents {
  /** The connection for a subscription stands; nothing is subscribed on it yet. */
  subscriberReady(): void;
  subscriberClosed(): void;
  message(message: string): void;
  error(error: Error): void;
}
