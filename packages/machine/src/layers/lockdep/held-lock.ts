import type { AnyLock, LockClass } from "../../locks/lock.js";
import type { CallSite } from "./call-site.js";

/** What kind of thing is held: a lock of the machine, an annotated one, an RCU read section, a running RCU callback. */
export type HeldKind = AnyLock["kind"] | "annotated" | "rcu" | "rcu callback";

/** A lock or read section as lockdep sees it. */
export interface LockUse {
  readonly kind: HeldKind;
  readonly lockClass: LockClass;
  /** Address of the lock; 0 for RCU, which has none. */
  readonly address: number;
  readonly mode: "read" | "write";
}

/** One entry of a processor's stack of held locks. */
export interface HeldLock extends LockUse {
  readonly site: CallSite;
}

/** The class that RCU read sections and grace periods belong to. */
export const RCU_CLASS: LockClass = { name: "rcu_read_lock", sleeps: false };

/** The class of a running RCU callback. */
export const RCU_CALLBACK_CLASS: LockClass = { name: "rcu_callback", sleeps: false };

/** An RCU read section. */
export const rcuUse: LockUse = { kind: "rcu", lockClass: RCU_CLASS, address: 0, mode: "read" };

/** The context of an RCU callback. */
export const rcuCallbackUse: LockUse = {
  kind: "rcu callback",
  lockClass: RCU_CALLBACK_CLASS,
  address: 0,
  mode: "write",
};

/** `lock`, held for `mode`. */
export function lockUse(lock: AnyLock, mode: "read" | "write"): LockUse {
  return { kind: lock.kind, lockClass: lock.lockClass, address: lock.address, mode };
}

/** True if whoever holds `use` may not sleep. */
export function isAtomic(use: LockUse): boolean {
  switch (use.kind) {
    case "mutex":
    case "srcu":
      return false;
    case "annotated":
    case "rwlock":
      return !use.lockClass.sleeps;
    default:
      return true;
  }
}

/** True if taking `use` never waits for anybody: the read side of RCU and SRCU. Only their grace periods wait. */
export function neverWaits(use: LockUse): boolean {
  return use.kind === "rcu" || use.kind === "srcu";
}

/** `"kvm->mmu_lock" (rwlock, read, 0x1f40)`. */
export function describeUse(use: LockUse): string {
  const where = use.address === 0 ? "" : `, 0x${use.address.toString(16)}`;
  return `"${use.lockClass.name}" (${use.kind}, ${use.mode}${where})`;
}
