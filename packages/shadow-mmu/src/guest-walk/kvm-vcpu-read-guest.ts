import type { Cpu } from "@kvm-age/machine";
import { gfnToHva, type Hva, kvmIsErrorHva } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";

const PAGE_BYTES = 4096;

/**
 * `kvm_vcpu_read_guest` and, with `atomic`, `kvm_vcpu_read_guest_atomic`: the 8 bytes at the guest-physical address, or null if no
 * slot of the vCPU's address space has them or the host cannot read them. With `atomic` nothing sleeps, so that it may be called
 * under `mmu_lock`; a page that the host swapped out is then a failure. Held: SRCU.
 *
 * @param gpa in bytes, a multiple of 8 in [0, 2^53)
 */
export function kvmVcpuReadGuest(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  gpa: number,
  atomic: boolean,
): bigint | null {
  const gfn = Math.floor(gpa / PAGE_BYTES) as Gfn;
  const slot = mmu.memslots.gfnToMemslot(cpu, cpu.readOnce32(vcpu.inSmmWord), gfn);
  const page = gfnToHva(cpu, slot, gfn, false);
  if (kvmIsErrorHva(page)) return null;
  return mmu.host.loadUser(cpu, (page + (gpa % PAGE_BYTES)) as Hva, 8, atomic);
}
