import { type Cpu, type CpuLayer, noLayer, type ThreadMachine } from "@kvm-age/machine";
import type { VmHandle } from "../../vm/vm.js";
import { ComplianceWatchCpu } from "./compliance-watch-cpu.js";

/**
 * The layer that enforces at every write what no look at a VM at rest can show: who may write what without `mmu_lock`. Around lockdep and
 * the sanitizer, whose `Cpu` it reads through. Null if the VM's configuration does not ask for it.
 */
export function withComplianceWatch(machine: ThreadMachine, vm: VmHandle): CpuLayer {
  if (vm.config.complianceWatch !== true) return noLayer;
  return (cpu: Cpu) => new ComplianceWatchCpu(cpu, machine, vm);
}
