import type { Cpu } from "@kvm-age/machine";
import { gfnToHva, type Hva, kvmIsErrorHva, markPageDirtyInSlot } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { kvmMmuTrackWrite } from "./kvm-mmu-track-write.js";

const PAGE_BYTES = 4096;

/**
 * `emulator_write_phys`: carries out a guest's store, for a fault that came out as `emulate`, or for a device: writes guest memory, logs
 * the page, then tells the shadow pages. KVM decodes no instruction in this house: whoever runs the vCPU says what is stored where.
 * Held: SRCU; never `mmu_lock`. Sleeps.
 *
 * @param gpa in bytes, a multiple of `size` in [0, 2^53)
 * @param value in [0, 2^(8 * size))
 * @returns false, with nothing written, if no writable slot of the vCPU's address space has the address, or the host cannot write it
 */
export function kvmWriteGuestPte(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  gpa: number,
  size: 4 | 8,
  value: bigint,
): boolean {
  const gfn = Math.floor(gpa / PAGE_BYTES) as Gfn;
  const slot = mmu.memslots.gfnToMemslot(cpu, cpu.readOnce32(vcpu.inSmmWord), gfn);
  const page = gfnToHva(cpu, slot, gfn, true);
  if (kvmIsErrorHva(page)) return false;
  if (!mmu.host.storeUser(cpu, (page + (gpa % PAGE_BYTES)) as Hva, size, value, false)) return false;
  markPageDirtyInSlot(cpu, slot, gfn);
  kvmMmuTrackWrite(mmu, cpu, gpa, size);
  return true;
}
