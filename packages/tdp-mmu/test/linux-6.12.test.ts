import { KVM_MEM_LOG_DIRTY_PAGES, kvmMmuGfnDisallowLpage } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { baseVolatileRule, type Gfn } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { KVM_VALID_ROOTS, kvmTdpMmuInvalidateRoots, kvmTdpMmuZapCollapsibleSptes } from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import {
  age,
  flushes,
  leaves,
  READ,
  spteChanges,
  sptepAt,
  tables,
  testAge,
  underReadLock,
  underWriteLock,
  WRITE,
} from "./kit/operations.js";
import { FORMATS, FORMATS_612, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const NON_PRESENT = 1n << 63n;

/** As 6.12 was: aging under `mmu_lock`. */
function make(reference: ReferenceFormat): Guest {
  return new Guest({
    ...reference.init,
    options: { aging: "mmu-lock-write", volatileRule: baseVolatileRule },
  });
}

describe.each(FORMATS_612)("aging, $name", (reference) => {
  it("tells of the entry as it was and as it is", () => {
    const guest = make(reference);
    guest.fault(3, true);
    const cpu = new RecordingCpu(guest.cpu);
    expect(age(guest, 3, 4, cpu)).toBe(true);
    expect(spteChanges(cpu)).toEqual([
      {
        as_id: 0,
        gfn: SLOT_GFN + 3,
        level: 1,
        old_spte: ofPage(reference.demand, 3),
        new_spte: ofPage(reference.aged, 3),
      },
    ]);
    expect(flushes(guest)).toBe(0);
  });

  it("reaches roots that wait to be zapped", () => {
    const guest = make(reference);
    guest.fault(3, true);
    underWriteLock(guest, guest.cpu, () => kvmTdpMmuInvalidateRoots(guest.mmu, guest.cpu, KVM_VALID_ROOTS));
    expect([testAge(guest, 3, 4), age(guest, 3, 4), age(guest, 3, 4)]).toEqual([true, true, false]);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
  });

  it("is undone by the next access", () => {
    const guest = make(reference);
    guest.fault(3, true);
    age(guest, 3, 4);
    const restored = reference.restoredByRead ?? reference.aged;
    guest.fault(3, false);
    if (!reference.adBits) expect(guest.spte(3)).toBe(ofPage(restored, 3));
    guest.faultWithCode(3, WRITE | 1);
    expect(guest.spte(3) & 2n).toBe(2n);
  });
});

describe.each(FORMATS_612)("a fault on an entry that serves it, $name", (reference) => {
  it("builds the leaf again, which a writable one does not leave dirty", () => {
    const guest = make(reference);
    guest.faultWithCode(3, WRITE);
    const cpu = new RecordingCpu(guest.cpu);
    const result = guest.faultWithCode(3, WRITE, cpu);
    if (!reference.adBits) {
      // The fast path has found it in order.
      expect([result, guest.spte(3)]).toEqual([RetPf.spurious, ofPage(reference.demand, 3)]);
      return;
    }
    expect(result).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand & ~reference.dirtyBit, 3));
    expect(cpu.eventNames()).toEqual([
      "kvm_mmu_spte_requested",
      "kvm_tdp_mmu_spte_changed",
      "kvm_mmu_set_spte",
    ]);
    // Once more, and there is no difference: spurious, and told of all the same.
    const again = new RecordingCpu(guest.cpu);
    expect(guest.faultWithCode(3, WRITE, again)).toBe(RetPf.spurious);
    expect(again.eventNames()).toEqual(["kvm_mmu_spte_requested", "kvm_mmu_set_spte"]);
  });

  it("a prefetch makes it old", () => {
    const guest = make(reference);
    guest.faultWithCode(3, READ);
    expect(guest.faultWithCode(3, READ, guest.cpu, true)).not.toBe(RetPf.retry);
    if (reference.adBits) expect(guest.spte(3) & reference.accessedBit).toBe(0n);
  });
});

/** Small pages where the host now has huge ones. */
function small(reference: ReferenceFormat, pages: readonly number[]): Guest {
  const guest = make(reference);
  for (const page of pages) guest.fault(page, true);
  guest.host.level = 2;
  return guest;
}

describe.each(FORMATS_612)("dirty logging switched off, $name", (reference) => {
  it("zaps what could be huge, the entry first and its table after it; the next fault maps 2 MiB", () => {
    const guest = small(reference, [700]);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    const sptep = sptepAt(guest, 700, 2);
    const table = guest.cpu.readOnce(sptep);
    const leaf = guest.spte(700);
    const cpu = new RecordingCpu(guest.cpu);
    zap(guest, cpu);
    expect(guest.cpu.readOnce(sptep)).toBe(NON_PRESENT);
    const changes = spteChanges(cpu).filter(({ old_spte }) => old_spte !== NON_PRESENT);
    expect(changes.map(({ level, old_spte, new_spte }) => [level, old_spte, new_spte])).toEqual([
      [2, table, NON_PRESENT],
      [1, leaf, reference.frozen],
    ]);
    expect(cpu.eventNames().slice(0, 2)).toEqual(["kvm_tdp_mmu_spte_changed", "kvm_mmu_prepare_zap_page"]);
    expect([tables(guest), leaves(guest)]).toEqual([2, [0, 0, 0]]);
    guest.setSlot(0);
    guest.fault(700, true);
    expect(guest.entry(700)).toMatchObject({ level: 2, spte: ofPage(reference.huge, 512) });
  });

  it("is what happens when the slot's flag goes", () => {
    const guest = small(reference, [700]);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.setSlot(0);
    expect(guest.entry(700)).toMatchObject({ level: 2, spte: NON_PRESENT });
  });

  it("keeps the entry frozen from the exchange to the end of its own flush", () => {
    const guest = small(reference, [700]);
    const sptep = sptepAt(guest, 700, 2);
    const seen: bigint[] = [];
    const act = (): void => void seen.push(guest.cpu.readOnce(sptep));
    const cpu = new RecordingCpu(new InterferingCpu(guest.cpu, [{ step: "writeOnce", address: sptep, act }]));
    zap(guest, cpu);
    expect(seen).toEqual([reference.frozen]);
    expect(cpu.writesTo(sptep)).toEqual(["cmpxchg", "writeOnce"]);
    expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual(["flush 0x40200+512"]);
  });

  it("looks at an entry again that changed first", () => {
    const guest = small(reference, [700]);
    const sptep = sptepAt(guest, 700, 2);
    const act = (): void => guest.cpu.writeOnce(sptep, ofPage(reference.huge, 512));
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address: sptep, act }]);
    zap(guest, cpu);
    expect([cpu.happened, guest.spte(700)]).toEqual([1, ofPage(reference.huge, 512)]);
  });

  it("leaves what cannot be huge, and what is", () => {
    const guest = small(reference, [700]);
    guest.fault(3, true);
    underWriteLock(guest, guest.cpu, () =>
      kvmMmuGfnDisallowLpage(guest.cpu, guest.slot, (SLOT_GFN + 700) as Gfn),
    );
    const before = [guest.entry(3), guest.entry(700)];
    zap(guest);
    expect([guest.entry(3), guest.entry(700)]).toEqual(before);
  });
});

describe.each(FORMATS.slice(0, 1))("later kernels, $name", (reference) => {
  it("do not zap when logging is switched off", () => {
    const guest = new Guest(reference.init);
    guest.fault(700, true);
    guest.host.level = 2;
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.setSlot(0);
    expect(guest.entry(700)).toMatchObject({ level: 2, spte: ofPage(reference.logged | 0x80n, 512) });
  });
});

function zap(guest: Guest, cpu = guest.cpu): void {
  underReadLock(guest, cpu, () => kvmTdpMmuZapCollapsibleSptes(guest.mmu, cpu, guest.host, guest.slot));
}
