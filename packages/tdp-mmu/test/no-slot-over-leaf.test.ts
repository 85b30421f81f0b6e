import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import { isMmioSpte, PFERR_WRITE_MASK } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { expect, it } from "vitest";
import { checkTdpMmuInvariants, kvmTdpMmuAgeGfnRange, kvmTdpMmuMap } from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";

// Found by torture: vCPU A faults while the slot is gone, the slot is made again, vCPU B maps the page, aging hides it (no
// A/D bits), and only then A takes mmu_lock with its answer "no slot".
it("a fault that found no slot replaces a hidden leaf by an MMIO entry, and flushes", () => {
  const guest = new Guest({ adBits: false });
  guest.fault(3, true);
  kvmTdpMmuAgeGfnRange(guest.mmu, guest.cpu, guest.range(3, 4));
  const late = new KvmPageFault((SLOT_GFN + 3) * 4096, PFERR_WRITE_MASK, false);
  const cpu = new RecordingCpu(guest.cpu);
  cpu.readLock(guest.mmu.mmuLock);
  expect(kvmTdpMmuMap(guest.mmu, cpu, guest.vcpu, late)).toBe(RetPf.emulate);
  cpu.readUnlock(guest.mmu.mmuLock);
  expect(isMmioSpte(guest.format, guest.spte(3))).toBe(true);
  expect(cpu.log.filter((entry) => entry.startsWith("flush"))).toHaveLength(1);
  expect(checkTdpMmuInvariants(guest.mmu, guest.cpu)).toEqual([]);
});
