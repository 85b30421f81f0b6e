import type { Cpu } from "@kvm-age/machine";
import { PAGING_OFF } from "@kvm-age/vcpu";
import {
  EPT_TABLES,
  type GuestTableFormat,
  LONG_MODE_TABLES,
  NPT_TABLES,
} from "../guest/guest-table-format.js";
import { GuestTables } from "../guest/guest-tables.js";
import { MMU_SHAPES } from "./mmu-shape.js";
import type { Vm } from "./vm.js";
import type { VmConfig } from "./vm-config.js";
import type { VmVcpu } from "./vm-vcpu.js";

const PAGES_PER_2M = 512;

/** The format of the page tables that a guest keeps under a configuration. */
export function guestTableFormat(config: VmConfig): GuestTableFormat {
  if (MMU_SHAPES[config.mmu].guestTables === "paging") return LONG_MODE_TABLES;
  return config.mmuMode === "npt" ? NPT_TABLES : EPT_TABLES;
}

/** The guest's page tables, which map the test memory one to one, as they are before the guest runs. */
export function guestTablesOf(vm: Vm): GuestTables {
  return new GuestTables(vm.hostMm, vm.handle.guestTables!, guestTableFormat(vm.config));
}

function enterMode(cpu: Cpu, vm: Vm, vcpu: VmVcpu, rootGpa: number): void {
  if (MMU_SHAPES[vm.config.mmu].guestTables === "nested") {
    vcpu.enterL2(cpu, rootGpa);
    return;
  }
  const registers = { ...PAGING_OFF, mode: "4-level", cr3: rootGpa, cr0Wp: true, eferNx: true } as const;
  vcpu.hardware.setGuestPaging(cpu, registers);
}

/**
 * What a guest does before its test begins: builds the page tables that its MMU asks for, with 2 MiB pages where the host backs it with
 * those, and has every vCPU use them: paging on, or in L2.
 */
export function bootGuest(vm: Vm, cpu: Cpu): void {
  // As vCPUs are made: paging off (`kvm_init_mmu`).
  const vcpus = vm.handle.vcpus.map((_, index) => vm.vcpu(index));
  if (vm.tdp === null) for (const vcpu of vcpus) vcpu.resetMmu(cpu);
  if (vm.handle.guestTables === null) return;
  const tables = guestTablesOf(vm);
  const { guestPages, hugePages } = vm.config;
  const large = hugePages && guestPages % PAGES_PER_2M === 0;
  tables.map(cpu, vm.gpaOf(0), vm.gpaOf(0), guestPages, large ? 2 : 1);
  for (const vcpu of vcpus) enterMode(cpu, vm, vcpu, tables.rootGpa);
}
