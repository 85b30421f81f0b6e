import { createHostMm, type HostMm } from "@kvm-age/host-mm";
import { type Cpu, type FlushDomain, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import { createMemslots, kvmSetMemoryRegion } from "@kvm-age/memslot";
import { createShadowMmuVcpu } from "@kvm-age/shadow-mmu";
import type { Gfn } from "@kvm-age/spte";
import { createTdpMmuVcpu } from "@kvm-age/tdp-mmu";
import { allocateVcpu, createGuestAccessEpochs, type VcpuInit } from "@kvm-age/vcpu";
import { CONTROL_BYTES } from "../actors/control.js";
import { type GuestTableArea, guestTablePages } from "../guest/guest-tables.js";
import { noteSlot } from "../tracing/notes.js";
import { arenaBytesFor } from "./arena-size.js";
import { bootGuest } from "./boot-guest.js";
import { Latencies } from "./latencies.js";
import { MMU_SHAPES } from "./mmu-shape.js";
import { pagesPerTestSlot, type TestSlot, testSlots } from "./test-slots.js";
import { Vm, type VmHandle } from "./vm.js";
import { formatOf, GUEST_PHYSICAL_BITS, type VmConfig } from "./vm-config.js";
import { attachVmMmus, createVmMmus } from "./vm-mmus.js";
import { DEFAULT_TUNING } from "./vm-tuning.js";

const PAGES_PER_2M = 512;
const MAX_GFN = 2 ** (GUEST_PHYSICAL_BITS - 12) - 1;
/** Threads besides the vCPUs: the creator, agers, a reclaimer, a logger and whoever tests bring. */
const OTHER_THREADS = 24;
/** The slot of the guest's page tables, and where it lies (`KVM_GUEST_PAGE_TABLE_MIN_PADDR` of the selftests). */
const PAGE_TABLE_SLOT = 0;
const PAGE_TABLE_GPA = 0x180000;

/** The machine and, on this thread, the `Cpu` that made the VM. */
export interface CreatedVm {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly vm: Vm;
}

/**
 * Makes a VM with its host: one slot of anonymous memory at the top of the guest's physical address space (2 MiB aligned), or
 * several over the same anonymous memory where the configuration says, and its vCPUs, outside the guest. Nothing is populated. A guest that
 * pages by itself, or runs a guest of its own, has its page tables, which map all of that, in another slot, and its vCPUs use
 * them.
 *
 * @param wrapCpu layers to put around this thread's `Cpu`
 * @throws GuestTooLargeError if the arena cannot hold it.
 */
export function createVm(
  config: VmConfig,
  wrapCpu: (cpu: Cpu, machine: ThreadMachine) => Cpu = (cpu) => cpu,
): CreatedVm {
  const maxCpus = config.vcpus + OTHER_THREADS;
  const machine = ThreadMachine.create({ arenaBytes: arenaBytesFor(config), maxCpus });
  const cpu = wrapCpu(machine.attach(), machine);
  const vm = new Vm(machine, cpu, layOut(config, machine, cpu), new Latencies());
  const { guestTables } = vm.handle;
  if (guestTables !== null) addSlot(vm, cpu, { slot: PAGE_TABLE_SLOT, ...guestTables });
  for (const slot of testSlots(vm.handle)) addSlot(vm, cpu, slot);
  bootGuest(vm, cpu);
  return { machine, cpu, vm };
}

function addSlot(vm: Vm, cpu: Cpu, testSlot: TestSlot): void {
  const { slot, gpa, hva, pages } = testSlot;
  noteSlot(cpu, testSlot);
  kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, {
    slot,
    flags: 0,
    guestPhysAddr: gpa,
    memorySize: pages * 4096,
    userspaceAddr: hva,
  });
}

/** First gfn of the test memory. */
function baseGfnOf({ guestPages, aliasedSlots }: VmConfig): Gfn {
  if (aliasedSlots !== undefined) return (aliasedSlots.startGpa / 4096) as Gfn;
  return (MAX_GFN + 1 - PAGES_PER_2M * Math.ceil((guestPages + 1) / PAGES_PER_2M)) as Gfn;
}

/** How the hardware of a VM translates. */
function pagingOf(config: VmConfig): Omit<VcpuInit, "flushDomain"> {
  const format = formatOf(config);
  const pageFormat = MMU_SHAPES[config.mmu].tdp ? config.mmuMode : "shadow";
  const eptReadReportsUser = pageFormat === "ept" && format.rules.eptReadReportsUser;
  const maxPhyAddr = GUEST_PHYSICAL_BITS;
  return { pageFormat, adEnabled: format.kvmAdEnabled, eptReadReportsUser, rootLevel: 4, maxPhyAddr };
}

/** Memory for the guest's own page tables, which have bytes. */
function guestTableArea(config: VmConfig, hostMm: HostMm, cpu: Cpu): GuestTableArea | null {
  if (MMU_SHAPES[config.mmu].guestTables === "none") return null;
  const pages = guestTablePages(config.guestPages) + (config.spareGuestTablePages ?? 0);
  return { gpa: PAGE_TABLE_GPA, hva: hostMm.mmapBacked(cpu, pages * 4096, { writable: true }), pages };
}

function layOut(config: VmConfig, machine: ThreadMachine, cpu: Cpu): VmHandle {
  const hostMm = createHostMm(cpu, machine, {
    pages: config.hostPages,
    swapSlots: config.swapSlots,
    memoryLimitPages: config.memoryLimitPages,
    transparentHugePages: config.hugePages,
    contents: config.contents,
    directReclaim: config.swapSlots > 0,
  });
  const { tdp: tdpEnabled, tdpMmu: tdpMmuEnabled } = MMU_SHAPES[config.mmu];
  const { dirtyLogManualProtect, dirtyLogInitiallySet } = { ...DEFAULT_TUNING, ...config.tuning };
  const memslots = createMemslots(cpu, machine, {
    maxGfn: MAX_GFN as Gfn,
    tdpEnabled,
    tdpMmuEnabled,
    dirtyLogManualProtect,
    dirtyLogInitiallySet,
  });
  const flushDomain: FlushDomain = {
    address: machine.frames.allocateSpan(cpu, flushDomainBytes(config.vcpus)),
    maxMembers: config.vcpus,
  };
  const parts = { memslots, flushDomain, host: hostMm };
  const handles = createVmMmus(cpu, machine, parts, config);
  const { tdp, shadow } = attachVmMmus(machine, handles, parts);
  const baseGfn = baseGfnOf(config);
  const vcpus = Array.from({ length: config.vcpus }, (_, index) => ({
    hardware: allocateVcpu(cpu, machine, { ...pagingOf(config), flushDomain }),
    tdp: tdp === null ? null : createTdpMmuVcpu(tdp, cpu, index).address,
    shadow: shadow === null ? null : createShadowMmuVcpu(shadow, cpu, index).address,
  }));
  return {
    ...handles,
    machine: machine.handle,
    config,
    hostMm: hostMm.handle,
    memslots: memslots.handle,
    flushDomain,
    vcpus,
    accessEpochs: config.recordAccesses
      ? createGuestAccessEpochs(cpu, machine, { startGfn: baseGfn, pages: config.guestPages }).handle
      : null,
    baseGfn,
    baseHva: hostMm.mmapAnonymous(cpu, pagesPerTestSlot(config) * 4096, { thp: config.hugePages }),
    guestTables: guestTableArea(config, hostMm, cpu),
    control: machine.frames.allocateSpan(cpu, CONTROL_BYTES),
  };
}
