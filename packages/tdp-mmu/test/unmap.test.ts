import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import type { Gfn } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  createTdpMmuVcpu,
  KVM_VALID_ROOTS,
  kvmMmuLoad,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuPageFault,
  kvmTdpMmuZapAll,
  kvmTdpMmuZapLeafs,
  tdpMmuZapRoot,
} from "../src/index.js";
import { Guest, SLOT_GFN, SLOT_HVA } from "./kit/guest.js";
import {
  leaves,
  rootOf,
  spteChanges,
  sptepAt,
  tables,
  underReadLock,
  underWriteLock,
  unmap,
  WRITE,
} from "./kit/operations.js";
import { FORMATS, ofPage } from "./kit/reference-values.js";

const NOT_PRESENT = 0x8000000000000000n;

function populated(init = {}): Guest {
  const guest = new Guest(init);
  for (const page of [0, 1, 2, 3, 511, 512, 513]) guest.fault(page, true);
  return guest;
}

function invalidateRoots(guest: Guest): void {
  underWriteLock(guest, guest.cpu, () => kvmTdpMmuInvalidateRoots(guest.mmu, guest.cpu, KVM_VALID_ROOTS));
}

describe.each(FORMATS)("unmapping a range, $name", (reference) => {
  it("empties the leaves of the range and no others; tables stay", () => {
    const guest = populated(reference.init);
    expect(unmap(guest, 1, 512)).toBe(true);
    const present = [0, 1, 2, 3, 511, 512, 513].filter((page) => guest.spte(page) !== NOT_PRESENT);
    expect(present).toEqual([0, 512, 513]);
    expect(leaves(guest)).toEqual([3, 0, 0]);
    expect(tables(guest)).toBe(4);
  });

  it("emits one event for each leaf, with the value that was replaced", () => {
    const guest = populated(reference.init);
    const cpu = new RecordingCpu(guest.cpu);
    unmap(guest, 2, 4, cpu);
    expect(spteChanges(cpu)).toEqual(
      [2, 3].map((page) => ({
        as_id: 0,
        gfn: SLOT_GFN + page,
        level: 1,
        old_spte: ofPage(reference.demand, page),
        new_spte: NOT_PRESENT,
      })),
    );
  });

  it("reports what hardware did to the leaf after the look, where that can be lost", () => {
    const guest = populated(reference.init);
    const address = sptepAt(guest, 2, 1);
    const clean = ofPage(reference.demand, 2) & ~reference.dirtyBit;
    guest.cpu.writeOnce(address, clean);
    const act = (): void => void guest.cpu.fetchOr(address, reference.dirtyBit, "full");
    const interfering = new InterferingCpu(guest.cpu, [{ step: "xchg", address, act }]);
    const cpu = new RecordingCpu(interfering);
    unmap(guest, 2, 3, cpu);
    expect(interfering.happened).toBe(1);
    expect(spteChanges(cpu)[0]!.old_spte).toBe(ofPage(reference.demand, 2));
  });
});

describe("the flush", () => {
  it("is not needed if nothing was mapped", () => {
    const guest = populated();
    expect(unmap(guest, 600, 700)).toBe(false);
  });

  it("is not needed for leaves of an invalid root, which are emptied all the same", () => {
    const guest = populated();
    invalidateRoots(guest);
    expect(unmap(guest, 0, 2048)).toBe(false);
    expect(leaves(guest)).toEqual([0, 0, 0]);
  });
});

it("a huge leaf goes if the range touches it", () => {
  const guest = new Guest();
  guest.host.level = 2;
  guest.fault(700, true);
  expect(unmap(guest, 0, 512)).toBe(false);
  expect(unmap(guest, 1023, 1024)).toBe(true);
  expect(leaves(guest)).toEqual([0, 0, 0]);
});

it("unmapping keeps to the slot's address space, zapping leafs does not", () => {
  const guest = populated();
  const smm = createTdpMmuVcpu(guest.mmu, guest.cpu, 1);
  guest.cpu.writeOnce32(smm.inSmmWord, 1);
  kvmMmuLoad(guest.mmu, guest.cpu, smm);
  guest.setRegion({ slot: 1 << 16, gfn: SLOT_GFN, pages: 16, hva: SLOT_HVA, flags: 0 });
  const fault = new KvmPageFault(SLOT_GFN * 4096, WRITE, false);
  expect(kvmTdpMmuPageFault(guest.mmu, guest.cpu, smm, guest.host, fault)).toBe(RetPf.fixed);
  expect(leaves(guest)).toEqual([8, 0, 0]);
  unmap(guest, 0, 2048);
  expect(leaves(guest)).toEqual([1, 0, 0]);
  underWriteLock(guest, guest.cpu, () =>
    kvmTdpMmuZapLeafs(guest.mmu, guest.cpu, SLOT_GFN, (SLOT_GFN + 1) as Gfn, false),
  );
  expect(leaves(guest)).toEqual([0, 0, 0]);
});

it("zapping leafs leaves invalid roots alone and passes a pending flush on", () => {
  const guest = populated();
  const zap = (flush: boolean): boolean =>
    underWriteLock(guest, guest.cpu, () =>
      kvmTdpMmuZapLeafs(guest.mmu, guest.cpu, SLOT_GFN, (SLOT_GFN + 2) as Gfn, flush),
    );
  expect(zap(false)).toBe(true);
  expect(leaves(guest)).toEqual([5, 0, 0]);
  invalidateRoots(guest);
  expect(zap(false)).toBe(false);
  expect(zap(true)).toBe(true);
  expect(leaves(guest)).toEqual([5, 0, 0]);
});

describe.each([
  ["shared", true],
  ["exclusive", false],
])("zapping a root, %s", (_name, shared) => {
  function zapped(): { guest: Guest; cpu: RecordingCpu } {
    const guest = populated();
    guest.host.level = 2;
    guest.fault(1024, true);
    const cpu = new RecordingCpu(guest.cpu);
    const held = shared ? underReadLock : underWriteLock;
    held(guest, cpu, () => tdpMmuZapRoot(guest.mmu, cpu, rootOf(guest), shared));
    return { guest, cpu };
  }

  it("empties it, tables included, and brings the counters to zero", () => {
    const { guest } = zapped();
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(tables(guest)).toBe(0);
    expect(guest.entry(0)).toMatchObject({ level: 4, spte: NOT_PRESENT });
  });

  it("goes from small to large", () => {
    const { cpu } = zapped();
    const levels = spteChanges(cpu)

      .filter(({ new_spte }) => new_spte === NOT_PRESENT)
      .map(({ level }) => level);
    expect(levels).toEqual([...Array(7).fill(1), 2, 2, 2, 3, 4]);
  });

  it("needs no flush", () => {
    const { cpu } = zapped();
    expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual([]);
  });
});

it("a lost exchange while zapping a root shared is tried again on the new value", () => {
  const guest = populated();
  const address = sptepAt(guest, 2, 1);
  const act = (): void => void guest.cpu.fetchAnd(address, ~2n & 0xffffffffffffffffn, "full");
  const interfering = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
  const cpu = new RecordingCpu(interfering);
  underReadLock(guest, cpu, () => tdpMmuZapRoot(guest.mmu, cpu, rootOf(guest), true));
  expect(interfering.happened).toBe(1);
  expect(leaves(guest)).toEqual([0, 0, 0]);
  const change = spteChanges(cpu).find(({ gfn, level }) => gfn === SLOT_GFN + 2 && level === 1)!;
  expect((change.old_spte as bigint) & 2n).toBe(0n);
});

it("zapping everything reaches valid and invalid roots", () => {
  const guest = populated();
  invalidateRoots(guest);
  const other = createTdpMmuVcpu(guest.mmu, guest.cpu, 1);
  kvmMmuLoad(guest.mmu, guest.cpu, other);
  underWriteLock(guest, guest.cpu, () => kvmTdpMmuZapAll(guest.mmu, guest.cpu));
  expect(leaves(guest)).toEqual([0, 0, 0]);
  expect(tables(guest)).toBe(0);
});
