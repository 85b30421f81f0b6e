import type { Address } from "../cpu/address.js";

/** Thrown when a processor releases a lock, or leaves a read section, that is not held. */
export class UnbalancedUnlockError extends Error {
  override readonly name = "UnbalancedUnlockError";

  constructor(
    readonly lock: string,
    readonly address: Address,
    readonly state: number,
  ) {
    super(`${lock} at 0x${address.toString(16)} is released but not held (state 0x${state.toString(16)})`);
  }
}

/** Thrown when a processor waits for a grace period from inside a read section, which would never end. */
export class GracePeriodDeadlockError extends Error {
  override readonly name = "GracePeriodDeadlockError";

  constructor(readonly operation: string) {
    super(`${operation} inside an RCU read section would wait for itself`);
  }
}
