import { createHostMm } from "@kvm-age/host-mm";
import { type Cpu, type FlushDomain, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import { createMemslots, kvmSetMemoryRegion } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import { createTdpMmu, createTdpMmuVcpu } from "@kvm-age/tdp-mmu";
import { allocateVcpu, createGuestAccessEpochs } from "@kvm-age/vcpu";
import { CONTROL_BYTES } from "../actors/control.js";
import { arenaBytesFor } from "./arena-size.js";
import { Latencies } from "./latencies.js";
import { Vm, type VmHandle } from "./vm.js";
import { formatOf, GUEST_PHYSICAL_BITS, tdpOptionsOf, type VmConfig } from "./vm-config.js";

const PAGES_PER_2M = 512;
const MAX_GFN = 2 ** (GUEST_PHYSICAL_BITS - 12) - 1;
/** Threads besides the vCPUs: the creator, agers, a reclaimer, a logger and whoever tests bring. */
const OTHER_THREADS = 24;
const FIRST_TEST_SLOT = 1;

/** The machine and, on this thread, the `Cpu` that made the VM. */
export interface CreatedVm {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly vm: Vm;
}

/**
 * Makes a VM with its host: one slot of anonymous memory at the top of the guest's physical address space (2 MiB aligned), and
 * its vCPUs, outside the guest. Nothing is populated.
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
  kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, {
    slot: FIRST_TEST_SLOT,
    flags: 0,
    guestPhysAddr: vm.handle.baseGfn * 4096,
    memorySize: config.guestPages * 4096,
    userspaceAddr: vm.handle.baseHva,
  });
  return { machine, cpu, vm };
}

function layOut(config: VmConfig, machine: ThreadMachine, cpu: Cpu): VmHandle {
  const format = formatOf(config);
  const hostMm = createHostMm(cpu, machine, {
    pages: config.hostPages,
    swapSlots: config.swapSlots,
    memoryLimitPages: config.memoryLimitPages,
    transparentHugePages: config.hugePages,
    contents: config.contents,
    directReclaim: config.swapSlots > 0,
  });
  const memslots = createMemslots(cpu, machine, { maxGfn: MAX_GFN as Gfn });
  const flushDomain: FlushDomain = {
    address: machine.frames.allocateSpan(cpu, flushDomainBytes(config.vcpus)),
    maxMembers: config.vcpus,
  };
  const components = { memslots, flushDomain };
  const tdp = createTdpMmu(cpu, machine, components, { format, options: tdpOptionsOf(config) });
  const baseGfn = (MAX_GFN + 1 - PAGES_PER_2M * Math.ceil((config.guestPages + 1) / PAGES_PER_2M)) as Gfn;
  const vcpus = Array.from({ length: config.vcpus }, (_, index) => ({
    hardware: allocateVcpu(cpu, machine, {
      flushDomain,
      pageFormat: config.mmuMode,
      adEnabled: format.kvmAdEnabled,
      rootLevel: tdp.rootLevel as 4 | 5,
      maxPhyAddr: GUEST_PHYSICAL_BITS,
    }),
    mmu: createTdpMmuVcpu(tdp, cpu, index).address,
  }));
  return {
    machine: machine.handle,
    config,
    hostMm: hostMm.handle,
    memslots: memslots.handle,
    tdp: tdp.handle,
    flushDomain,
    vcpus,
    accessEpochs: config.recordAccesses
      ? createGuestAccessEpochs(cpu, machine, { startGfn: baseGfn, pages: config.guestPages }).handle
      : null,
    baseGfn,
    baseHva: hostMm.mmapAnonymous(cpu, config.guestPages * 4096, { thp: config.hugePages }),
    control: machine.frames.allocateSpan(cpu, CONTROL_BYTES),
  };
}
