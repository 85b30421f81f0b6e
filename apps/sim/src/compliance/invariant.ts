/**
 * Who enforces an invariant:
 * - `rest`: `checkCompliance`, while nobody runs;
 * - `watch`: `withComplianceWatch`, at every write;
 * - `lockdep`: the lock validator, at every lock;
 * - `sanitizer`: the address sanitizer, at every access;
 * - `oracle`: the torture's guests and its dirty logger, by what they read.
 */
export type Enforcer = "rest" | "watch" | "lockdep" | "sanitizer" | "oracle";

/** Something that must hold of every VM, whichever MMUs and policies it has. */
export interface Invariant {
  /** The reference's chapter and number: `rmap` 1 to 10, `shadow` 1 to 15, `locking` 1 to 12. */
  readonly id: InvariantId;
  readonly sentence: string;
  readonly enforcers: readonly Enforcer[];
}

type Numbers1To10 = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10;

export type InvariantId =
  | `rmap-${Numbers1To10}`
  | `shadow-${Numbers1To10 | 11 | 12 | 13 | 14 | 15}`
  | `locking-${Numbers1To10 | 11 | 12}`;
