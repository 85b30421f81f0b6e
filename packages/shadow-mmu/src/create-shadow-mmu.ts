import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { createKvmRmaps } from "@kvm-age/rmap";
import { ShadowMmuConfigError, ShadowPageCorruptionError } from "./errors.js";
import { kvmMmuAllocPageHash } from "./hash/page-hash.js";
import { KVM_MMU_PAGE_BYTES } from "./page/kvm-mmu-page.js";
import {
  SHADOW_MMU_BYTES,
  ShadowMmu,
  type ShadowMmuComponents,
  type ShadowMmuHandle,
  type ShadowMmuInit,
  type ShadowMmuMachine,
} from "./shadow-mmu.js";

/** Least quota of shadow pages (`KVM_MIN_ALLOC_MMU_PAGES`), until the slots' owner sets another. */
const KVM_MIN_ALLOC_MMU_PAGES = 64;

/**
 * `kvm_mmu_init_vm`: makes the state of a shadow MMU without pages.
 *
 * @throws ShadowMmuConfigError for a value out of range.
 */
export function createShadowMmu(
  cpu: Cpu,
  machine: ShadowMmuMachine,
  components: ShadowMmuComponents,
  init: ShadowMmuInit,
): ShadowMmu {
  const hostLevel = init.hostLevel ?? 4;
  if (hostLevel !== 4 && hostLevel !== 5) throw new ShadowMmuConfigError("hostLevel", hostLevel, "4 or 5");
  const ratio = init.options?.nxHugePagesRecoveryRatio ?? 0;
  if (!Number.isInteger(ratio) || ratio < 0) {
    throw new ShadowMmuConfigError("nxHugePagesRecoveryRatio", ratio, "an integer from 0");
  }
  const address = machine.frames.allocateSpan(cpu, SHADOW_MMU_BYTES);
  const headers = machine.createSlab(cpu, "kvm_mmu_page (shadow)", KVM_MMU_PAGE_BYTES);
  const rmaps = createKvmRmaps(cpu, machine, { mmuLock: components.memslots.locks.mmuLock });
  const full = { format: init.format, hostLevel, options: { ...init.options } };
  const handle = { address, headers: headers.handle, rmaps: rmaps.handle, init: full };
  const mmu = new ShadowMmu(machine, handle, components);
  cpu.writeOnce32(mmu.zeroPageWord, machine.frames.allocateFrame(cpu));
  cpu.writeOnce32(mmu.nMaxMmuPagesWord, KVM_MIN_ALLOC_MMU_PAGES);
  const waitsForRoot = mmu.format.rules.shadowPageHash === "with-first-shadow-root";
  if (!components.memslots.options.tdpMmuEnabled || !waitsForRoot) kvmMmuAllocPageHash(mmu, cpu);
  return mmu;
}

/** Another thread's view of a shadow MMU. */
export function attachShadowMmu(
  machine: ShadowMmuMachine,
  handle: ShadowMmuHandle,
  components: ShadowMmuComponents,
): ShadowMmu {
  return new ShadowMmu(machine, handle, components);
}

/**
 * `kvm_mmu_uninit_vm`: frees the empty shell of a shadow MMU whose pages are gone, and the VM's stock for splits.
 *
 * @throws ShadowPageCorruptionError if pages are left.
 */
export function destroyShadowMmu(mmu: ShadowMmu, cpu: Cpu): void {
  const pages = cpu.readOnce32(mmu.nUsedMmuPagesWord);
  if (pages !== 0) throw new ShadowPageCorruptionError("destroyed with shadow pages left", { pages });
  mmu.splitCaches.drain(cpu);
  mmu.frames.freeFrame(cpu, mmu.zeroPage(cpu));
  const hash = cpu.readOnce32(mmu.pageHashWord) as Address;
  if (hash !== NULL_ADDRESS) mmu.frames.freeSpan(cpu, hash);
  mmu.frames.freeSpan(cpu, mmu.address);
}
