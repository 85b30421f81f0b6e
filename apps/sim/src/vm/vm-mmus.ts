import type { Cpu, FlushDomain, ThreadMachine } from "@kvm-age/machine";
import type { Memslots } from "@kvm-age/memslot";
import {
  attachShadowMmu,
  createShadowMmu,
  type GfnWriteProtector,
  noOtherMmu,
  type ShadowMmu,
  type ShadowMmuHandle,
  type ShadowMmuHost,
  type ShadowMmuMachine,
  ShadowTracker,
} from "@kvm-age/shadow-mmu";
import {
  attachTdpMmu,
  createTdpMmu,
  kvmTdpMmuWriteProtectGfn,
  type TdpMmu,
  type TdpMmuHandle,
  type TdpMmuMachine,
} from "@kvm-age/tdp-mmu";
import { KVM_AGING_POLICIES, mmuAgingOptions } from "../aging/aging-policies.js";
import { MMU_SHAPES } from "./mmu-shape.js";
import { formatOf, type VmConfig } from "./vm-config.js";
import { DEFAULT_TUNING } from "./vm-tuning.js";

/** The MMUs of a VM: one, or both wired to each other. */
export interface VmMmus {
  readonly tdp: TdpMmu | null;
  readonly shadow: ShadowMmu | null;
}

/** The same as plain data. */
export interface VmMmuHandles {
  readonly tdp: TdpMmuHandle | null;
  readonly shadow: ShadowMmuHandle | null;
}

/** What both MMUs work with. */
export interface VmMmuParts {
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly host: ShadowMmuHost;
}

/** The MMUs' state in the arena, as the configuration asks for. */
export function createVmMmus(
  cpu: Cpu,
  machine: ThreadMachine,
  parts: VmMmuParts,
  config: VmConfig,
): VmMmuHandles {
  const shape = MMU_SHAPES[config.mmu];
  const policy = KVM_AGING_POLICIES[config.policy];
  const format = formatOf(config);
  const { nxHugePages, cpuDirtyLog, slotZapAll, proveMmu } = { ...DEFAULT_TUNING, ...config.tuning };
  const tuning = { nxHugePages, cpuDirtyLog, slotZapAll };
  const tdpOptions = { ...tuning, proveMmu, ...mmuAgingOptions(policy.tdp) };
  const shadowOptions = { ...tuning, ...mmuAgingOptions(policy.shadow) };
  return {
    tdp: shape.tdpMmu ? createTdpMmu(cpu, machine, parts, { format, options: tdpOptions }).handle : null,
    shadow: shape.shadowMmu
      ? createShadowMmu(cpu, machine, parts, { format, options: shadowOptions }).handle
      : null,
  };
}

/**
 * This thread's view of the MMUs. Each is what the other must ask: the shadow MMU, before the TDP MMU grants write access to what may be a
 * guest page table; the TDP MMU, when the shadow MMU takes write access to one away.
 */
export function attachVmMmus(
  machine: TdpMmuMachine & ShadowMmuMachine,
  handles: VmMmuHandles,
  parts: VmMmuParts,
): VmMmus {
  let tdp: TdpMmu | null = null;
  const inTdp: GfnWriteProtector = {
    writeProtectGfn: (cpu, slot, gfn, minLevel) => kvmTdpMmuWriteProtectGfn(tdp!, cpu, slot, gfn, minLevel),
  };
  const otherMmu = handles.tdp === null ? noOtherMmu : inTdp;
  const shadow =
    handles.shadow === null ? null : attachShadowMmu(machine, handles.shadow, { ...parts, otherMmu });
  const tracker = shadow === null ? {} : { shadowPages: new ShadowTracker(shadow) };
  if (handles.tdp !== null) tdp = attachTdpMmu(machine, handles.tdp, { ...parts, ...tracker });
  return { tdp, shadow };
}
