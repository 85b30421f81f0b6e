import { FRAME_BYTES, OutOfMemoryError } from "@kvm-age/machine";
import type { Gfn, PgLevel } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { checkTdpMmuInvariants, kvmTdpMmuTrySplitHugePages } from "../src/index.js";
import { rootCountWord } from "../src/page/kvm-mmu-page.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import { leaves, rootOf, sptepAt, tables, underReadLock, underWriteLock } from "./kit/operations.js";
import { EVERY_FORMAT, ofPage } from "./kit/reference-values.js";

const ONE_GIB = 262144;

function split(guest: Guest, pages: number, target: PgLevel, shared: boolean, cpu = guest.cpu): void {
  const held = shared ? underReadLock : underWriteLock;
  const end = (SLOT_GFN + pages) as Gfn;
  held(guest, cpu, () =>
    kvmTdpMmuTrySplitHugePages(guest.mmu, cpu, guest.slot, SLOT_GFN, end, target, shared),
  );
}

function huge(level: PgLevel, init = {}): Guest {
  const guest = new Guest({ slotPages: level === 3 ? ONE_GIB : 2048, ...init });
  guest.host.level = level;
  guest.fault(5, true);
  return guest;
}

function errnos(cpu: RecordingCpu): unknown[] {
  return cpu.events
    .filter(({ name }) => name === "kvm_mmu_split_huge_page")
    .map(({ fields }) => [fields.level, fields.errno]);
}

/** Takes every frame but `left` out of the machine, in runs as long as there are. */
function exhaust(guest: Guest, left: number): void {
  const { frames } = guest.machine;
  const kept = Array.from({ length: left }, () => frames.allocateFrame(guest.cpu));
  for (let run = frames.availableFrames(guest.cpu); run >= 1; ) {
    try {
      frames.allocateSpan(guest.cpu, run * FRAME_BYTES);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      run = Math.floor(run / 2);
    }
  }
  while (frames.availableFrames(guest.cpu) > 0) frames.allocateFrame(guest.cpu);
  for (const frame of kept) frames.freeFrame(guest.cpu, frame);
}

describe.each([
  ["shared", true],
  ["exclusive", false],
])("splitting a range, %s", (_name, shared) => {
  it.each(EVERY_FORMAT)("2M into 512 pages that translate the same, $name", (reference) => {
    const guest = huge(2, reference.init);
    split(guest, 2048, 1, shared);
    expect(leaves(guest)).toEqual([512, 0, 0]);
    for (const page of [0, 5, 511]) {
      expect(guest.entry(page)).toMatchObject({ level: 1, spte: ofPage(reference.demand, page) });
    }
  });

  it("1G into 512 of 2M if that is the target", () => {
    const guest = huge(3);
    split(guest, ONE_GIB, 2, shared);
    expect(leaves(guest)).toEqual([0, 512, 0]);
    expect(tables(guest)).toBe(2);
    expect(guest.entry(1000)).toMatchObject({ level: 2, spte: ofPage(EVERY_FORMAT[0]!.huge, 512) });
  });

  it("1G, then the 2M parts that the range reaches, in pre-order", () => {
    const guest = huge(3);
    const cpu = new RecordingCpu(guest.cpu);
    split(guest, 1024, 1, shared, cpu);
    expect(leaves(guest)).toEqual([1024, 510, 0]);
    expect(errnos(cpu)).toEqual([
      [3, 0],
      [2, 0],
      [2, 0],
    ]);
    expect(cpu.log.filter((step) => step.startsWith("flush"))).toEqual([]);
    expect(checkTdpMmuInvariants(guest.mmu, guest.cpu)).toEqual([]);
  });

  it("allocates outside RCU and mmu_lock", () => {
    const guest = huge(2);
    const cpu = new RecordingCpu(guest.cpu);
    const { memset64 } = cpu;
    cpu.memset64 = (address, value, count) => {
      if (count === 512) cpu.log.push("allocate");
      memset64.call(cpu, address, value, count);
    };
    split(guest, 2048, 1, shared, cpu);
    const mode = shared ? "read" : "write";
    const at = cpu.log.indexOf("allocate");
    expect(cpu.log.slice(at - 2, at + 3)).toEqual([
      "rcu_read_unlock",
      `${mode}_unlock kvm->mmu_lock`,
      "allocate",
      `${mode}_lock kvm->mmu_lock`,
      "rcu_read_lock",
    ]);
  });

  it("out of memory: stops with the event, keeps what it has done, puts the root and holds the lock", () => {
    const guest = huge(2, { arenaBytes: 4 << 20 });
    guest.host.level = 2;
    for (const page of [512, 1024]) guest.fault(page, true);
    const headersBefore = guest.mmu.headers.allocatedObjects(guest.cpu);
    const references = guest.cpu.readOnce32(rootCountWord(rootOf(guest)));
    exhaust(guest, 1);
    const cpu = new RecordingCpu(guest.cpu);
    split(guest, 2048, 1, shared, cpu);
    expect(errnos(cpu)).toEqual([
      [2, 0],
      [2, -12],
    ]);
    expect(leaves(guest)).toEqual([512, 2, 0]);
    expect(guest.mmu.headers.allocatedObjects(guest.cpu)).toBe(headersBefore + 1);
    expect(guest.cpu.readOnce32(rootCountWord(rootOf(guest)))).toBe(references);
    expect(checkTdpMmuInvariants(guest.mmu, guest.cpu)).toEqual([]);
  });

  it("out of memory for descriptors: the same, and no frame is lost", () => {
    const guest = huge(2, { arenaBytes: 4 << 20 });
    // Descriptors up to the end of the slab's frame, so that the next one needs a frame.
    const { headers } = guest.mmu;
    while (headers.allocatedObjects(guest.cpu) % headers.objectsPerFrame !== 0) headers.allocate(guest.cpu);
    exhaust(guest, 0);
    const before = guest.machine.frames.allocatedFrames(guest.cpu);
    const cpu = new RecordingCpu(guest.cpu);
    split(guest, 2048, 1, shared, cpu);
    expect(errnos(cpu)).toEqual([[2, -12]]);
    expect(guest.machine.frames.allocatedFrames(guest.cpu)).toBe(before);
    expect(leaves(guest)).toEqual([0, 1, 0]);
  });
});

it("a lost exchange looks at the entry again with the same spare table, which is freed if it is not needed", () => {
  const guest = huge(2);
  const address = sptepAt(guest, 5, 2);
  const headers = guest.mmu.headers.allocatedObjects(guest.cpu);
  // Somebody splits first.
  const act = (): void => split(guest, 2048, 1, true);
  const interfering = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
  const cpu = new RecordingCpu(interfering);
  split(guest, 2048, 1, true, cpu);
  expect(interfering.happened).toBe(1);
  expect(errnos(cpu)).toEqual([[2, -16]]);
  expect(leaves(guest)).toEqual([512, 0, 0]);
  expect(guest.mmu.headers.allocatedObjects(guest.cpu)).toBe(headers + 1);
  expect(checkTdpMmuInvariants(guest.mmu, guest.cpu)).toEqual([]);
});

it("an exchange lost to the aging of the huge page splits the aged page", () => {
  const reference = EVERY_FORMAT[0]!;
  const guest = huge(2);
  const address = sptepAt(guest, 5, 2);
  const act = (): void =>
    void guest.cpu.fetchAnd(address, ~reference.accessedBit & 0xffffffffffffffffn, "full");
  const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
  split(guest, 2048, 1, true, cpu);
  expect(guest.spte(5)).toBe(ofPage(reference.aged, 5));
  expect(leaves(guest)).toEqual([512, 0, 0]);
});

it("a huge page that is gone when the lock is taken again is not split; the spare is freed", () => {
  const guest = huge(2);
  const headers = guest.mmu.headers.allocatedObjects(guest.cpu);
  const frames = guest.machine.frames.allocatedFrames(guest.cpu);
  const address = sptepAt(guest, 5, 2);
  // The second time the read lock is taken is after the allocation.
  const act = (): void => guest.cpu.writeOnce(address, 0x8000000000000000n);
  const lock = guest.mmu.mmuLock.address;
  const cpu = new InterferingCpu(guest.cpu, [{ step: "readLock", address: lock, nth: 2, act }]);
  split(guest, 2048, 1, true, cpu);
  expect(cpu.happened).toBe(1);
  expect(guest.mmu.headers.allocatedObjects(guest.cpu)).toBe(headers);
  expect(guest.machine.frames.allocatedFrames(guest.cpu)).toBe(frames);
});
