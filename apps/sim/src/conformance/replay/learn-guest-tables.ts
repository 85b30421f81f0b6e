import type { KvmEvent } from "@kvm-age/trace";
import type { ReplayContext } from "./replay-context.js";

const ADDRESS_MASK = 0x000ffffffffff000n;
const INDEX_BITS = 9n;
const PAGE_SHIFT = 12n;

/**
 * Guest page tables that nobody described: an entry is what the kernel's first walk reads there. From then on the model knows it, and later
 * walks are compared.
 */
export function learnGuestTables(context: ReplayContext, outputs: readonly KvmEvent[]): void {
  let address = 0n;
  let table = BigInt(context.guestRoot);
  for (const event of outputs) {
    if (event.name === "kvm_mmu_pagetable_walk") {
      address = event.fields.addr;
      table = BigInt(context.guestRoot);
    }
    if (event.name !== "kvm_mmu_paging_element") continue;
    const { pte, level } = event.fields;
    learnWord(context, Number(table + 8n * indexOf(address, level)), pte);
    table = pte & ADDRESS_MASK;
  }
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
