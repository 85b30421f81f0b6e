import { baseVolatileRule, type Spte } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { mmuSpteUpdate } from "../../src/spte/mmu-spte-update.js";
import { spteWriteProtect } from "../../src/spte/spte-write-protect.js";
import { LeafGuest } from "./kit/leaf-guest.js";
import { FORMATS_612, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const PAGE = 3;
const at = (reference: bigint): Spte => ofPage(reference, PAGE);

/** As 6.12 was: aging under `mmu_lock`. */
function make(reference: ReferenceFormat): LeafGuest {
  const options = { aging: "mmu-lock-write", volatileRule: baseVolatileRule } as const;
  const guest = new LeafGuest({ ...reference.init, options });
  guest.touch(PAGE, true);
  return guest;
}

describe.each(FORMATS_612)("mmu_spte_update, $name", (reference) => {
  const change = (from: bigint, to: bigint): boolean => {
    const guest = make(reference);
    const sptep = guest.sptep(PAGE);
    guest.cpu.writeOnce(sptep, from);
    return guest.underWriteLock(() => mmuSpteUpdate(guest.mmu, guest.cpu, sptep, to as Spte));
  };

  it("asks for a flush when W, A or D goes, or MMU-writable", () => {
    const { demand, logged, aged, writeProtected, dirtyBit } = reference;
    expect(change(at(demand), at(writeProtected))).toBe(true);
    expect(change(at(demand), at(logged))).toBe(true);
    expect(change(at(demand), at(aged))).toBe(true);
    expect(change(at(logged), at(writeProtected))).toBe(true);
    if (reference.adBits) expect(change(at(demand), at(demand) & ~dirtyBit)).toBe(true);
  });

  it("asks for none when something comes", () => {
    const { demand, logged, writeProtected } = reference;
    expect(change(at(logged), at(demand))).toBe(false);
    expect(change(at(writeProtected), at(demand))).toBe(false);
    expect(change(1n << 63n, at(demand))).toBe(false);
  });

  it("spte_write_protect for the log asks for one", () => {
    const guest = make(reference);
    const sptep = guest.sptep(PAGE);
    expect(guest.underWriteLock(() => spteWriteProtect(guest.mmu, guest.cpu, sptep, false))).toBe(true);
    expect(guest.spte(PAGE)).toBe(at(reference.logged));
  });
});

describe.each(FORMATS_612)("aging under mmu_lock, $name", (reference) => {
  it("owes no flush, whatever it takes away", () => {
    const guest = make(reference);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.age(PAGE, PAGE + 1, cpu)).toBe(true);
    expect(guest.spte(PAGE)).toBe(at(reference.aged));
    expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual([]);
    expect(guest.age(PAGE, PAGE + 1)).toBe(false);
    guest.expectSound();
  });
});
