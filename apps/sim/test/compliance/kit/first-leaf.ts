import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { isLastSpte, isShadowPresentPte, type PgLevel, type Spte, spteToPfn } from "@kvm-age/spte";
import type { Vm } from "../../../src/vm/vm.js";

/** The first leaf entry under a root. */
export function firstLeaf(cpu: Cpu, vm: Vm, root: Address, level: PgLevel = 4): Address {
  const { format } = (vm.tdp ?? vm.shadow)!;
  for (let index = 0; index < 512; index++) {
    const sptep = offset(root, index * 8);
    const spte = cpu.readOnce(sptep) as Spte;
    if (!isShadowPresentPte(spte)) continue;
    if (isLastSpte(spte, level)) return sptep;
    const found = firstLeaf(cpu, vm, (spteToPfn(format, spte) * 4096) as Address, (level - 1) as PgLevel);
    if (found !== 0) return found;
  }
  return 0 as Address;
}

/** The root of vCPU 0 when it is not nested. */
export function rootOf(cpu: Cpu, vm: Vm): Address {
  const vcpu = vm.vcpu(0);
  return vcpu.tdp === null
    ? vcpu.shadow!.rootMmu.rootHpa(cpu)
    : (cpu.readOnce32(vcpu.tdp.rootHpaWord) as Address);
}
