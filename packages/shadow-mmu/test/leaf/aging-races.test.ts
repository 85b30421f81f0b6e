import type { Address, LockdepCpu } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { KVM_RMAP_LOCKED, type KvmRmapHead, kvmRmapLockReadonly, kvmRmapUnlockReadonly } from "@kvm-age/rmap";
import { linux73, linux615, PG_LEVEL_4K, type Spte } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { mmuSpteAgeLockless } from "../../src/aging/mmu-spte-age.js";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { dropSpte } from "../../src/spte/drop-spte.js";
import { spteWriteProtect } from "../../src/spte/spte-write-protect.js";
import { kvmZapRmap } from "../../src/zap/kvm-shadow-unmap-gfn-range.js";
import { LeafGuest, PRESENT, WRITE } from "./kit/leaf-guest.js";
import { FORMATS, ofPage, type ReferenceFormat, withPfn } from "./kit/reference-values.js";

const PAGE = 3;
const NOT_PRESENT = 1n << 63n;
const W = 2n;

function headOf(guest: LeafGuest, page = PAGE): KvmRmapHead {
  return gfnToRmap(guest.cpu, guest.slot, guest.gfn(page), PG_LEVEL_4K);
}

function mapped(reference: ReferenceFormat): LeafGuest {
  const guest = new LeafGuest(reference.init);
  guest.touch(PAGE, true);
  return guest;
}

/** What another thread stored between the ager's look and its write, and what is left after that write. */
interface Row {
  readonly name: string;
  /** Value of the entry when the ager looks. */
  readonly looked: (reference: ReferenceFormat) => bigint;
  readonly stored: (reference: ReferenceFormat) => bigint;
  /** Left by the unconditional AND. */
  readonly afterAnd: (reference: ReferenceFormat) => bigint;
  /** Left by the compare-exchange; absent: what was stored. */
  readonly afterCmpxchg?: (reference: ReferenceFormat) => bigint;
}

const young = (reference: ReferenceFormat): bigint => ofPage(reference.demand, PAGE);
const aged = (reference: ReferenceFormat): bigint => ofPage(reference.aged, PAGE);
const cleared = (value: bigint, reference: ReferenceFormat): bigint => value & ~reference.accessedBit;

const ROWS: readonly Row[] = [
  { name: "zapped", looked: young, stored: () => NOT_PRESENT, afterAnd: () => NOT_PRESENT },
  {
    name: "dirtied by hardware",
    looked: (reference) => young(reference) & ~reference.dirtyBit,
    stored: young,
    afterAnd: (reference) => cleared(young(reference), reference),
  },
  {
    name: "made writable by a fast page fault",
    looked: (reference) => young(reference) & ~W,
    stored: young,
    afterAnd: (reference) => cleared(young(reference), reference),
  },
  {
    name: "write-protected for dirty logging",
    looked: young,
    stored: (reference) => young(reference) & ~W,
    afterAnd: (reference) => cleared(young(reference) & ~W, reference),
  },
  {
    name: "write-protected for good",
    looked: young,
    stored: (reference) => ofPage(reference.writeProtected, PAGE),
    afterAnd: (reference) => cleared(ofPage(reference.writeProtected, PAGE), reference),
  },
  {
    name: "cleared of D for dirty logging",
    looked: young,
    stored: (reference) => young(reference) & ~reference.dirtyBit,
    afterAnd: (reference) => cleared(young(reference) & ~reference.dirtyBit, reference),
  },
  { name: "aged", looked: young, stored: aged, afterAnd: aged },
  { name: "untouched", looked: young, stored: young, afterAnd: aged, afterCmpxchg: aged },
];

function usesAnd(reference: ReferenceFormat): boolean {
  return reference.ruleSet === linux615 && reference.adBits;
}

describe.each(FORMATS)("between look and write, $name", (reference) => {
  it.each(ROWS)("$name: counts as young, and the other change stays", (row) => {
    const guest = mapped(reference);
    const sptep = guest.sptep(PAGE);
    guest.cpu.writeOnce(sptep, row.looked(reference));
    const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
    const act = (): void => guest.cpu.writeOnce(sptep, row.stored(reference));
    const cpu = new InterferingCpu(guest.cpu, [{ step, address: sptep, act }]);
    expect(guest.age(PAGE, PAGE + 1, cpu)).toBe(true);
    expect(cpu.happened).toBe(1);
    const left = usesAnd(reference) ? row.afterAnd(reference) : (row.afterCmpxchg ?? row.stored)(reference);
    expect(guest.cpu.readOnce(sptep)).toBe(left);
    expect(guest.cpu.readOnce(headOf(guest))).toBe(BigInt(sptep));
    (guest.cpu as LockdepCpu).lockdep.assertNothingHeld();
  });

  it("is tried once, whatever comes of it", () => {
    const guest = mapped(reference);
    const sptep = guest.sptep(PAGE);
    const other = withPfn(young(reference), 0x777777);
    const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
    const act = (): void => guest.cpu.writeOnce(sptep, other);
    const recording = new RecordingCpu(new InterferingCpu(guest.cpu, [{ step, address: sptep, act }]));
    guest.age(PAGE, PAGE + 1, recording);
    expect(recording.writesTo(sptep)).toHaveLength(1);
  });
});

describe.each(FORMATS)("1. a writer drops an entry whose list an ager holds, $name", (reference) => {
  it("clears it at once and waits for the bit; the ager's write finds nothing to change", () => {
    const guest = mapped(reference);
    const { mmu } = guest;
    const sptep = guest.sptep(PAGE);
    const head = headOf(guest);
    const ager = guest.attach();
    const locked = kvmRmapLockReadonly(mmu.rmaps, ager, head);
    const snapshot = ager.readOnce(sptep) as Spte;
    const spins: bigint[] = [];
    const act = (): void => {
      spins.push(guest.cpu.readOnce(sptep));
      mmuSpteAgeLockless(mmu, ager, sptep, snapshot);
      spins.push(guest.cpu.readOnce(sptep));
      kvmRmapUnlockReadonly(mmu.rmaps, ager, head, locked);
    };
    const writer = new InterferingCpu(guest.cpu, [{ step: "relax", address: head, act }]);
    guest.inSrcu(() => guest.underWriteLock(() => dropSpte(mmu, writer, sptep), writer));
    expect(spins).toEqual([NOT_PRESENT, NOT_PRESENT]);
    expect(guest.cpu.readOnce(head)).toBe(0n);
    guest.expectSound();
  });
});

describe.each(FORMATS)("2. an ager waits for a list that is zapped, $name", (reference) => {
  it("finds it empty, reports nothing, and has preemption on again", () => {
    const guest = mapped(reference);
    const { mmu, cpu } = guest;
    const head = headOf(guest);
    const zapper = guest.attach();
    // The writer, in the middle of its zap: the head has the bit.
    cpu.fetchOr(head, KVM_RMAP_LOCKED, "full");
    const act = (): void => {
      cpu.fetchAnd(head, ~KVM_RMAP_LOCKED & (2n ** 64n - 1n), "full");
      guest.underWriteLock(() => kvmZapRmap(mmu, zapper, head), zapper);
    };
    const ager = new InterferingCpu(cpu, [{ step: "relax", address: head, act }]);
    const recording = new RecordingCpu(ager);
    expect(guest.age(PAGE, PAGE + 1, recording)).toBe(false);
    expect(ager.happened).toBe(1);
    const steps = (kind: string): number => recording.log.filter((step) => step === kind).length;
    expect(steps("preempt_disable")).toBe(steps("preempt_enable"));
    guest.expectSound();
  });
});

describe.each(FORMATS)("3. two agers of one list, $name", (reference) => {
  const race = (touch: boolean): { first: boolean; second: boolean } => {
    const guest = mapped(reference);
    const { mmu } = guest;
    const sptep = guest.sptep(PAGE);
    const head = headOf(guest);
    const other = guest.attach();
    const locked = kvmRmapLockReadonly(mmu.rmaps, other, head);
    let first = false;
    const act = (): void => {
      const spte = other.readOnce(sptep) as Spte;
      first = (spte & reference.accessedBit) !== 0n;
      mmuSpteAgeLockless(mmu, other, sptep, spte);
      kvmRmapUnlockReadonly(mmu.rmaps, other, head, locked);
      // The guest uses the page again: through hardware, or through a fast page fault.
      if (touch) other.writeOnce(sptep, young(reference));
    };
    const ager = new InterferingCpu(guest.cpu, [{ step: "relax", address: head, act }]);
    const second = guest.age(PAGE, PAGE + 1, ager);
    expect(ager.happened).toBe(1);
    guest.expectSound();
    return { first, second };
  };

  it("one waits for the other, and only the first reports the page", () => {
    expect(race(false)).toEqual({ first: true, second: false });
  });

  it("both report it if the guest used it in between", () => {
    expect(race(true)).toEqual({ first: true, second: true });
  });
});

describe.each(FORMATS)("4. a writer fills an empty list while an ager looks, $name", (reference) => {
  const race = (): { reported: boolean; guest: LeafGuest; unlocked: bigint[] } => {
    const guest = new LeafGuest(reference.init);
    guest.touch(PAGE + 1, true);
    const sptep = (guest.sptep(PAGE + 1) - 8) as Address;
    const head = headOf(guest);
    const vcpu = guest.attach();
    const unlocked: bigint[] = [];
    const ager = new InterferingCpu(guest.cpu, [
      // The lock found the list empty and is about to return.
      { step: "preemptEnable", act: () => expect(guest.touch(PAGE, true, vcpu)).toBe(RetPf.fixed) },
      { step: "fetchAnd", address: sptep, act: () => unlocked.push(vcpu.readOnce(head)) },
      { step: "cmpxchg", address: sptep, act: () => unlocked.push(vcpu.readOnce(head)) },
    ]);
    const reported = guest.age(PAGE, PAGE + 1, ager);
    guest.expectSound();
    return { reported, guest, unlocked };
  };

  if (reference.ruleSet === linux73) {
    it("7.3 reports nothing and visits nothing", () => {
      const { reported, guest, unlocked } = race();
      expect([reported, unlocked]).toEqual([false, []]);
      expect(guest.spte(PAGE)).toBe(young(reference));
      expect(guest.age(PAGE, PAGE + 1)).toBe(true);
    });
  } else {
    it("6.15 reads the head again and walks the list without its bit (hazard D3)", () => {
      const { reported, guest, unlocked } = race();
      expect(reported).toBe(true);
      expect(unlocked).toEqual([BigInt(guest.sptep(PAGE))]);
      expect(guest.spte(PAGE)).toBe(aged(reference));
    });
  }
});

describe.each(FORMATS)("6. a fast page fault between look and write, $name", (reference) => {
  it("keeps what it gave; the page is young", () => {
    const guest = mapped(reference);
    guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    guest.harvestDirtyLog();
    expect(guest.spte(PAGE)).toBe(ofPage(reference.logged, PAGE));
    const sptep = guest.sptep(PAGE);
    const vcpu = guest.attach();
    const act = (): void => {
      expect(guest.faultWithCode(PAGE, PRESENT | WRITE, vcpu).ret).toBe(RetPf.fixed);
    };
    const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
    const cpu = new InterferingCpu(guest.cpu, [{ step, address: sptep, act }]);
    expect(guest.age(PAGE, PAGE + 1, cpu)).toBe(true);
    expect(cpu.happened).toBe(1);
    expect(guest.spte(PAGE)).toBe(usesAnd(reference) ? aged(reference) : young(reference));
    expect(guest.dirtyBit(PAGE)).toBe(true);
    guest.expectSound();
  });
});

describe.each(FORMATS)("7. dirty logging takes W, $name", (reference) => {
  it("between an ager's look and its write: W stays away", () => {
    const guest = mapped(reference);
    const sptep = guest.sptep(PAGE);
    const writer = guest.attach();
    const act = (): void => {
      guest.underWriteLock(() => spteWriteProtect(guest.mmu, writer, sptep, false), writer);
    };
    const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
    const cpu = new InterferingCpu(guest.cpu, [{ step, address: sptep, act }]);
    expect(guest.age(PAGE, PAGE + 1, cpu)).toBe(true);
    expect(guest.spte(PAGE) & W).toBe(0n);
    expect(guest.spte(PAGE) & reference.mmuWritableBit).not.toBe(0n);
    guest.expectSound();
  });

  it("and an ager comes between the writer's look and its write: W goes, and nothing but A is lost", () => {
    const guest = mapped(reference);
    const sptep = guest.sptep(PAGE);
    const ager = guest.attach();
    const act = (): void => {
      expect(guest.age(PAGE, PAGE + 1, ager)).toBe(true);
      expect(guest.cpu.readOnce(sptep)).toBe(aged(reference));
    };
    // With hardware A/D a plain store is enough: the entry is writable and dirty.
    const step = reference.adBits ? "writeOnce" : "xchg";
    const cpu = new InterferingCpu(guest.cpu, [{ step, address: sptep, act }]);
    guest.underWriteLock(() => {
      expect(spteWriteProtect(guest.mmu, cpu, sptep, false)).toBe(false);
    }, cpu);
    expect(cpu.happened).toBe(1);
    expect(guest.spte(PAGE)).toBe(ofPage(reference.logged, PAGE));
    guest.expectSound();
  });
});
