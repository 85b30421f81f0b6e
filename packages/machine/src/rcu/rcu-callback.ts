import type { Address } from "../cpu/address.js";
import type { Cpu } from "../cpu/cpu.js";

/** Bytes of an `rcu_head` inside an object: next link and callback id, then the grace period it waits for. */
export const RCU_HEAD_BYTES = 16;

/**
 * What happens to an object when its grace period is over. A constant of the package that frees it; the
 * queued record is `(head, id)`, data, so that any machine can keep it in the arena.
 */
export interface RcuCallback {
  /** Unique in the arena, in [1, 2^32): by convention the address of the structure that owns the objects. */
  readonly id: number;
  /**
   * Frees the object around `head`. Runs outside any read section, but possibly between two steps of an operation
   * that holds locks (the kernel's softirq context): it must not sleep, nor take a lock that its processor may hold.
   */
  run(cpu: Cpu, head: Address): void;
}
