import type { Address, Cpu } from "@kvm-age/machine";
import { isFrozenSpte, isShadowPresentPte, type Spte, spteNeedsAtomicUpdateUnder } from "@kvm-age/spte";
import { hex } from "../hex.js";
import type { InvariantId } from "../invariant.js";
import type { LockState } from "./lock-state.js";
import { isLocklessSpteWrite, type WordWrite } from "./spte-write.js";
import type { WatchedTable, WatchedTables } from "./watched-tables.js";

/** Why a write is refused. */
interface Refusal {
  readonly invariant: InvariantId;
  readonly what: string;
}

const PLAIN: readonly WordWrite["kind"][] = ["writeOnce", "storeRelease", "memset64"];

/** Under `mmu_lock` for write anything goes, but a plain store must not overwrite what may change beneath it. */
function refusalToWriter(
  tables: WatchedTables,
  cpu: Cpu,
  { owner }: WatchedTable,
  address: Address,
  { kind }: WordWrite,
): Refusal | undefined {
  if (!PLAIN.includes(kind)) return undefined;
  const before = cpu.readOnce(address) as Spte;
  const isVolatile =
    isShadowPresentPte(before) &&
    tables.isLeaf(cpu, before) &&
    spteNeedsAtomicUpdateUnder(tables.volatileRule(owner), tables.format, before);
  if (!isVolatile) return undefined;
  return { invariant: "locking-3", what: `a plain store over the volatile SPTE ${hex(before)}` };
}

/** Under `mmu_lock` for read, the TDP MMU compares and exchanges, or writes where it has frozen the entry or nobody else can be. */
function refusalToReader(
  tables: WatchedTables,
  cpu: Cpu,
  table: WatchedTable,
  address: Address,
  { kind }: WordWrite,
): Refusal | undefined {
  if (table.owner === "shadow") {
    return { invariant: "locking-2", what: `a ${kind} of a shadow SPTE under mmu_lock for read` };
  }
  if (kind !== "writeOnce" && kind !== "xchg") return undefined;
  const before = cpu.readOnce(address) as Spte;
  if (isFrozenSpte(tables.format, before) || !tables.isLinked(cpu, table)) return undefined;
  return { invariant: "locking-3", what: `a ${kind} over the SPTE ${hex(before)} that others can change` };
}

/** Without `mmu_lock` there are hardware, aging and fast page faults. */
function refusalToAnybody(
  tables: WatchedTables,
  cpu: Cpu,
  address: Address,
  write: WordWrite,
): Refusal | undefined {
  const before = (write.expected ?? cpu.readOnce(address)) as Spte;
  if (isLocklessSpteWrite(tables.format, write, tables.isLeaf(cpu, before))) return undefined;
  const what = `a ${write.kind} of ${hex(write.value)} over the SPTE ${hex(before)} without mmu_lock`;
  return { invariant: "locking-3", what };
}

/** Why a write of an entry of a page table is none that the thread may do, if it is not. */
export function tableWriteRefusal(
  tables: WatchedTables,
  cpu: Cpu,
  table: WatchedTable,
  address: Address,
  write: WordWrite,
  locks: LockState,
): Refusal | undefined {
  // Hardware, aging and fast faults may also come upon a thread that happens to hold the lock.
  if (locks.mmuLock === "write") return refusalToWriter(tables, cpu, table, address, write);
  if (locks.mmuLock === "read") return refusalToReader(tables, cpu, table, address, write);
  return refusalToAnybody(tables, cpu, address, write);
}
