import type { Cpu } from "@kvm-age/machine";
import {
  type PermissionTable,
  type PgLevel,
  type RsvdBits,
  resetRsvdsBitsMask,
  resetRsvdsBitsMaskEpt,
  roleFields,
  type SpteFormat,
  updatePermissionBitmask,
} from "@kvm-age/spte";
import { cpuRoleBase, cpuRoleExtended, type KvmCpuRole } from "../role/kvm-cpu-role.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { type KvmMmu, MmuKind } from "../vcpu/kvm-mmu.js";

/**
 * How the entries of one paging mode are to be read (7.3: a walker's CPU role and page format; before, fields of `struct kvm_mmu`).
 * Constants that follow from the context's kind and CPU role.
 */
export interface GuestWalker {
  readonly kind: MmuKind;
  /** Entries are EPT entries; otherwise those of long mode and PAE. */
  readonly ept: boolean;
  /** Levels of the guest's tables: 3 (PAE), 4 or 5. */
  readonly level: PgLevel;
  /** An entry with none of these bits is not present. */
  readonly presentMask: bigint;
  /** The Accessed bit, 0 if the tables have none (`PT_GUEST_ACCESSED_MASK` where `PT_HAVE_ACCESSED_DIRTY`). */
  readonly accessedMask: bigint;
  /** The Dirty bit, 0 if the tables have none. */
  readonly dirtyMask: bigint;
  readonly permissions: PermissionTable;
  /** Reserved bits, by what the guest may use. */
  readonly rsvdBits: RsvdBits;
  /** A page-fault error code tells a fetch from a read (`has_pferr_fetch`). */
  readonly hasPferrFetch: boolean;
  readonly cr0Wp: boolean;
  /** CR4.SMEP; for EPT, mode-based execute control; for NPT, guest-mode execute trap. */
  readonly cr4Smep: boolean;
}

const ACCESSED = 1n << 5n;
const DIRTY = 1n << 6n;
const EPT_ACCESSED = 1n << 8n;
const EPT_DIRTY = 1n << 9n;
const PRESENT = 1n;
const EPT_RWX = 7n;
const EPT_USER_EXECUTE = 1n << 10n;

/** Bits 63 down to the guest's MAXPHYADDR, which is the host's. */
function paBitsRsvd(format: SpteFormat): bigint {
  const width = BigInt(format.host.maxPhyAddr);
  return BigInt.asUintN(64, -1n << width);
}

function eptWalker(format: SpteFormat, cpuRole: KvmCpuRole): GuestWalker {
  const { rules } = format;
  const base = roleFields(rules, cpuRoleBase(cpuRole));
  const { execonly } = cpuRoleExtended(rules, cpuRole);
  return {
    kind: MmuKind.nestedEpt,
    ept: true,
    level: base.level,
    presentMask: base.cr4Smep ? EPT_RWX | EPT_USER_EXECUTE : EPT_RWX,
    accessedMask: base.adDisabled ? 0n : EPT_ACCESSED,
    dirtyMask: base.adDisabled ? 0n : EPT_DIRTY,
    permissions: updatePermissionBitmask(rules, { ept: true, tdp: true, cr4Smep: base.cr4Smep }),
    rsvdBits: resetRsvdsBitsMaskEpt({
      paBitsRsvd: paBitsRsvd(format),
      execOnly: execonly,
      hugePageLevel: 3,
    }),
    hasPferrFetch: false,
    cr0Wp: base.cr0Wp,
    cr4Smep: base.cr4Smep,
  };
}

/** Long mode and PAE: the guest's own tables, or L1's nested ones on AMD. The latter reserve bit 8 at the top. */
function normalWalker(format: SpteFormat, kind: MmuKind, cpuRole: KvmCpuRole): GuestWalker {
  const { rules } = format;
  const base = roleFields(rules, cpuRoleBase(cpuRole));
  const extended = cpuRoleExtended(rules, cpuRole);
  const { cr0Wp, eferNx } = base;
  const npt = kind === MmuKind.nestedNpt;
  // The flag that changed its word; in the role word of an NPT context it is the execute trap.
  const inRoleWord = rules.role.cr4Smep !== null;
  const cr4Smep = inRoleWord ? base.cr4Smep : extended.cr4Smep;
  return {
    kind,
    ept: false,
    level: base.level,
    presentMask: PRESENT,
    accessedMask: ACCESSED,
    dirtyMask: DIRTY,
    permissions: updatePermissionBitmask(rules, {
      ept: false,
      tdp: npt && inRoleWord,
      cr0Wp,
      eferNx,
      cr4Smep,
      cr4Smap: extended.cr4Smap,
    }),
    rsvdBits: resetRsvdsBitsMask({
      rootLevel: base.level,
      paBitsRsvd: paBitsRsvd(format),
      nx: eferNx,
      gbpages: true,
      amd: npt,
    }),
    hasPferrFetch: inRoleWord ? extended.hasPferrFetch : eferNx || cr4Smep,
    cr0Wp,
    cr4Smep,
  };
}

/** The walker of a paging mode, by computation. The role's level must be 3, 4 or 5. */
export function makeGuestWalker(format: SpteFormat, kind: MmuKind, cpuRole: KvmCpuRole): GuestWalker {
  const walker =
    kind === MmuKind.nestedEpt ? eptWalker(format, cpuRole) : normalWalker(format, kind, cpuRole);
  return Object.freeze(walker);
}

/** Walkers made so far: `makeGuestWalker` is a pure function, and a guest has a handful of paging modes. */
const memo = new WeakMap<SpteFormat, Map<bigint, GuestWalker>>();

/** The walker of a context that has guest tables to walk. */
export function walkerOf(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): GuestWalker {
  const { format } = mmu;
  const kind = context.kind(cpu);
  const cpuRole = cpu.readOnce(context.cpuRoleWord) as KvmCpuRole;
  let ofFormat = memo.get(format);
  if (ofFormat === undefined) {
    ofFormat = new Map();
    memo.set(format, ofFormat);
  }
  // Bits 63:48 of a CPU role are unused.
  const key = (BigInt(kind) << 60n) | cpuRole;
  let walker = ofFormat.get(key);
  if (walker === undefined) {
    walker = makeGuestWalker(format, kind, cpuRole);
    ofFormat.set(key, walker);
  }
  return walker;
}
