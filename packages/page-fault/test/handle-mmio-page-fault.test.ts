import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { type Gfn, KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { handleMmioPageFault, makeNoSlotSpte, PFERR_RSVD_MASK, RetPf } from "../src/index.js";
import { FORMATS } from "./kit/formats.js";
import { Rig } from "./kit/rig.js";

const GFN = 0xfee00 as Gfn;

function rigWithCachedMmio(init: ConstructorParameters<typeof Rig>[0]): Rig {
  const rig = new Rig(init);
  rig.spte = makeNoSlotSpte(rig, rig.cpu, 0, GFN, rig.format.rules.accAll);
  return rig;
}

function handle(rig: Rig, asId = 0, direct = true): RetPf {
  const fault = rig.faultAt(GFN, PFERR_RSVD_MASK);
  return handleMmioPageFault(rig, rig.tracingCpu(), fault, rig.walk, asId, direct);
}

describe.each(FORMATS)("a reserved-bit fault, $name", ({ format }) => {
  it("is emulated from an entry of the current generation", () => {
    const rig = rigWithCachedMmio({ format });
    expect(handle(rig)).toBe(RetPf.emulate);
    expect(rig.walk.log).toEqual(["begin", "look", "end"]);
    const access = Number(rig.spte & format.shadowMmioAccessMask);
    expect(rig.events).toEqual([
      { name: "check_mmio_spte", fields: { spte: rig.spte, kvm_gen: 2, spte_gen: 2, valid: true } },
      { name: "handle_mmio_page_fault", fields: { addr: 0n, gfn: GFN, access } },
    ]);
  });

  it("shows its address where the guest has tables of its own", () => {
    const rig = rigWithCachedMmio({ format });
    handle(rig, 0, false);
    expect(rig.events.at(-1)).toMatchObject({ fields: { addr: BigInt(GFN) * 4096n } });
  });

  it("takes the ordinary path once slots have changed", () => {
    const rig = rigWithCachedMmio({ format });
    rig.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    expect(handle(rig)).toBe(RetPf.invalid);
    expect(rig.events).toMatchObject([{ fields: { kvm_gen: 4, spte_gen: 2, valid: false } }]);
  });

  it("compares no generations while slots change", () => {
    const rig = rigWithCachedMmio({ format });
    rig.memslots.generation = () => 2n | KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS;
    expect(handle(rig)).toBe(RetPf.invalid);
    expect(rig.events).toEqual([]);
  });

  it("is judged by the generation of its own address space", () => {
    const rig = rigWithCachedMmio({ format });
    expect(rig.memslots.generation(rig.cpu, 1)).not.toBe(rig.memslots.generation(rig.cpu, 0));
    expect(handle(rig, 1)).toBe(RetPf.invalid);
  });

  it.each([
    ["was zapped", (): bigint => 1n << 63n],
    ["is a leaf by now", (rig: Rig): bigint => rig.leaf(3).spte],
    ["is frozen", (rig: Rig): bigint => rig.format.frozenSpte],
  ])("is retried if the entry %s", (_name, value) => {
    const rig = new Rig({ format });
    rig.spte = value(rig);
    expect(handle(rig)).toBe(RetPf.retry);
    expect(rig.walk.log).toEqual(["begin", "look", "end"]);
  });
});
