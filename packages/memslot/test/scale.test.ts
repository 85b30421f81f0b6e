import { ThreadMachine } from "@kvm-age/machine";
import { expect, it } from "vitest";
import {
  checkMemslotInvariants,
  createMemslots,
  KVM_USER_MEM_SLOTS,
  KvmMmuNotifier,
  kvmSetMemoryRegion,
  LOCKLESS_AGING,
  slotId,
} from "../src/index.js";
import { NODE_GFN_LEFT, NODE_GFN_RIGHT } from "../src/set/slot-node.js";
import { setGfnRoot } from "../src/set/slot-set.js";
import { nodeWord } from "../src/set/slot-tree.js";
import { NULL_SLOT, type Slot } from "../src/slot/slot.js";
import { FakeMmu } from "./support/fake-mmu.js";
import { BUFFER, gfn, hva, MAX_GFN } from "./support/vm.js";

it("holds every slot that user space may make, in trees of logarithmic depth", { timeout: 60_000 }, () => {
  const machine = ThreadMachine.create({ arenaBytes: 32 << 20, maxCpus: 2 });
  const cpu = machine.attach();
  const memslots = createMemslots(cpu, machine, { maxGfn: MAX_GFN, nrAddressSpaces: 1 });
  const mmu = new FakeMmu();
  for (let slot = 0; slot < KVM_USER_MEM_SLOTS; slot++) {
    const place = { guestPhysAddr: slot * 8192, userspaceAddr: BUFFER + slot * 4096 };
    kvmSetMemoryRegion(memslots, cpu, mmu, { slot, flags: 0, memorySize: 4096, ...place });
  }
  expect(memslots.nrMemslotPages(cpu)).toBe(BigInt(KVM_USER_MEM_SLOTS));
  expect(slotId(cpu, memslots.gfnToMemslot(cpu, 0, gfn(2 * 20000)))).toBe(20000);
  expect(memslots.gfnToMemslot(cpu, 0, gfn(2 * 20000 + 1))).toBe(NULL_SLOT);
  const depth = (slot: Slot): number =>
    slot === NULL_SLOT
      ? 0
      : 1 +
        Math.max(
          ...[NODE_GFN_LEFT, NODE_GFN_RIGHT].map((link) =>
            depth(cpu.readOnce32(nodeWord(slot, 0, link)) as Slot),
          ),
        );
  // 15 levels would be perfect; a random treap of this size is below 50 except once in millions, and this one
  // is fixed.
  expect(depth(setGfnRoot(cpu, memslots.setAt(0, 0)))).toBeLessThan(50);
  const notifier = new KvmMmuNotifier(memslots, mmu, LOCKLESS_AGING);
  notifier.clearYoung(cpu, hva(BUFFER + 100 * 4096), hva(BUFFER + 103 * 4096));
  expect(mmu.ranges.map(({ start }) => start)).toEqual([200, 202, 204]);
  expect(checkMemslotInvariants(memslots, cpu)).toEqual([]);
});
