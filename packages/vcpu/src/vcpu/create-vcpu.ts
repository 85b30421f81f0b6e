import { type Cpu, type FlushDomain, type FrameAllocator, memberCountWord } from "@kvm-age/machine";
import { FlushDomainFullError } from "../errors.js";
import { completePagingMode } from "../format/paging-mode.js";
import { Tlb } from "../tlb/tlb.js";
import { checkTlbGeometry, DEFAULT_TLB_GEOMETRY } from "../tlb/tlb-geometry.js";
import { Vcpu } from "./vcpu.js";
import type { VcpuCollaborators, VcpuHandle, VcpuInit } from "./vcpu-handle.js";
import { tlbOf, vcpuStateBytes } from "./vcpu-state.js";

/** What a vCPU needs of a machine. */
export interface VcpuMachine {
  readonly frames: FrameAllocator;
}

/**
 * Takes the next place of a flush domain. A flusher that read the old count does not ask the new member, which has
 * cached nothing yet; a zero mode word means outside.
 */
function joinFlushDomain(cpu: Cpu, domain: FlushDomain): number {
  const countWord = memberCountWord(domain);
  for (;;) {
    const member = cpu.loadAcquire32(countWord);
    if (member >= domain.maxMembers) throw new FlushDomainFullError(domain.maxMembers);
    // Release: who sees the new count sees the member's words. A lost exchange means another member took that place.
    if (cpu.cmpxchg32(countWord, member, member + 1, "release") === member) return member;
  }
}

/**
 * Makes a vCPU's state, empty and outside the guest, and joins its flush domain. For callers whose MMU wants to know
 * the vCPU's number first; `attachVcpu` makes the object.
 *
 * @throws UnsupportedPagingModeError, TlbGeometryError, FlushDomainFullError, OutOfMemoryError
 */
export function allocateVcpu(cpu: Cpu, machine: VcpuMachine, init: VcpuInit): VcpuHandle {
  const paging = completePagingMode(init);
  const tlb = init.tlb ?? DEFAULT_TLB_GEOMETRY;
  checkTlbGeometry(tlb);
  const { flushDomain } = init;
  const state = machine.frames.allocateSpan(cpu, vcpuStateBytes(tlb));
  new Tlb(tlbOf(state), tlb).reset(cpu);
  return { state, flushDomain, member: joinFlushDomain(cpu, flushDomain), paging, tlb };
}

/** This thread's view of a vCPU. */
export function attachVcpu(machine: VcpuMachine, handle: VcpuHandle, collaborators: VcpuCollaborators): Vcpu {
  return new Vcpu(machine.frames, handle, collaborators);
}

/** `allocateVcpu`, then `attachVcpu`. */
export function createVcpu(
  cpu: Cpu,
  machine: VcpuMachine,
  init: VcpuInit,
  collaborators: VcpuCollaborators,
): Vcpu {
  return attachVcpu(machine, allocateVcpu(cpu, machine, init), collaborators);
}
