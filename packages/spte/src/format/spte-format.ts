import type { Spte } from "../address/spte.js";
import type { PermissionTable } from "../permission/update-permission-bitmask.js";
import type { RuleSet } from "../rules/rule-set.js";
import type { HostCpu } from "./host-cpu.js";

/**
 * Which tables the entries are for: `ept` (Intel two-dimensional paging), `npt` (AMD nested paging),
 * `shadow` (four- or five-level shadow paging), `pae` (three-level shadow paging).
 */
export type MmuMode = "ept" | "npt" | "shadow" | "pae";

/**
 * Everything that decides what the bits of an entry mean: the rule set plus the kernel's global masks, which
 * are fixed once the vendor module is loaded. Immutable; the set-up functions return a new value.
 * Fields carry the names of the kernel's variables.
 */
export interface SpteFormat {
  readonly mode: MmuMode;
  readonly rules: RuleSet;
  readonly host: HostCpu;

  /** Whether the CPU maintains Accessed and Dirty. */
  readonly kvmAdEnabled: boolean;
  readonly shadowHostWritableMask: bigint;
  readonly shadowMmuWritableMask: bigint;
  readonly shadowNxMask: bigint;
  /** Supervisor-execute bit, or the only execute bit; 0 in layouts with NX. */
  readonly shadowXsMask: bigint;
  /** User-execute bit; 0 where execution is one permission. */
  readonly shadowXuMask: bigint;
  readonly shadowUserMask: bigint;
  readonly shadowAccessedMask: bigint;
  readonly shadowDirtyMask: bigint;
  readonly shadowPresentMask: bigint;
  readonly shadowAccTrackMask: bigint;
  /** Non-zero where the vendor supplies a memory type for each mapping (EPT: bits 6:3). */
  readonly shadowMemtypeMask: bigint;
  /** Encryption bits every entry carries. */
  readonly shadowMeValue: bigint;
  readonly shadowMeMask: bigint;

  readonly shadowMmioValue: bigint;
  readonly shadowMmioMask: bigint;
  readonly shadowMmioAccessMask: bigint;
  readonly enableMmioCaching: boolean;
  readonly shadowNonpresentOrRsvdMask: bigint;
  readonly shadowNonpresentOrRsvdLowerGfnMask: bigint;

  /** Physical address field of an entry (`SPTE_BASE_ADDR_MASK`): bits 51:12 without the C-bit. */
  readonly spteBaseAddrMask: bigint;
  /** `FROZEN_SPTE` of the rule set. */
  readonly frozenSpte: Spte;
  /** Mode-based execute control (EPT), guest-mode execute trap (NPT) or SMEP (shadow paging) is in use. */
  readonly executeControl: boolean;
  /** Permission words of this MMU, asked where the rule set checks accesses by table. */
  readonly permissions: PermissionTable;
  /** Kernel warnings that set-up has raised so far. */
  readonly warnings: number;
}
