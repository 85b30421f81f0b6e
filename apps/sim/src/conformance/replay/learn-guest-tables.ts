import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const ADDRESS_MASK = 0x000ffffffffff000n;
const PAGE_SIZE_BIT = 0x80n;
const INDEX_BITS = 9n;
const PAGE_SHIFT = 12n;

/** A walk in progress, as its events tell. */
interface OpenWalk {
  readonly address: bigint;
  /** Guest-physical address of the table whose entry is read next; null while it is being translated by another walk. */
  table: bigint | null;
}

/**
 * Guest page tables that nobody described: an entry is what the kernel's first walk reads there. From then on the model knows it, and later
 * walks are compared.
 *
 * @param root guest-physical address of the walked tables
 * @param nestedRoot of L1's nested tables, through which the tables at `root` are reached; null if they lie in the slots' memory
 */
export function learnGuestTables(
  context: ReplayContext,
  root: number,
  nestedRoot: number | null,
  outputs: readonly KvmEvent[],
): void {
  const walks: OpenWalk[] = [];
  for (const event of outputs) {
    if (event.name === "kvm_mmu_pagetable_walk") open(walks, event.fields.addr, root, nestedRoot);
    else if (event.name === "kvm_mmu_paging_element") {
      learnEntry(context, walks, event.fields.pte, event.fields.level, nestedRoot !== null);
    }
  }
}

/** A walk that begins inside another one translates a table's address for it. */
function open(walks: OpenWalk[], address: bigint, root: number, nestedRoot: number | null): void {
  if (walks.length > 0 && nestedRoot !== null && walks[0]!.table === null) {
    walks[1] = { address, table: BigInt(nestedRoot) };
    return;
  }
  walks.length = 0;
  walks.push({ address, table: nestedRoot === null ? BigInt(root) : null });
}

function learnEntry(
  context: ReplayContext,
  walks: OpenWalk[],
  pte: bigint,
  level: number,
  nested: boolean,
): void {
  const walk = walks.at(-1);
  if (walk === undefined || walk.table === null) return;
  learnWord(context, Number(walk.table + 8n * indexOf(walk.address, level)), pte);
  const frame = pte & ADDRESS_MASK;
  const leaf = level === 1 || (level < 4 && (pte & PAGE_SIZE_BIT) !== 0n);
  if (walks.length > 1 && leaf) {
    walks.pop();
    walks[0]!.table = frame | (walk.address & (pagesOf(level) * 4096n - 4096n));
  } else walk.table = nested && walks.length === 1 ? null : frame;
}

function pagesOf(level: number): bigint {
  return 512n ** BigInt(level - 1);
}

function indexOf(address: bigint, level: number): bigint {
  const shift = PAGE_SHIFT + INDEX_BITS * BigInt(level - 1);
  return BigInt.asUintN(64, BigInt.asUintN(64, address) >> shift) & 511n;
}

function learnWord(context: ReplayContext, gpa: number, value: bigint): void {
  const page = context.slots.hvaOf(Math.floor(gpa / 4096));
  if (page === null) return;
  const hva = page + (gpa % 4096);
  if (context.vm.host.word(hva) === null) context.vm.host.learnWord(hva, value);
}
