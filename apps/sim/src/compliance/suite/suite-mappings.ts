import type { Cpu } from "@kvm-age/machine";
import { isAccessTrackSpte, restoreAccTrackSpte, type Spte, type SpteFormat } from "@kvm-age/spte";
import type { Vm } from "../../vm/vm.js";
import { hex } from "../hex.js";
import { mappedLeaves } from "../stray-leaves.js";

/** A leaf as it would be if aging had done nothing to it. */
function withoutAge(format: SpteFormat, spte: Spte): bigint {
  const revealed = isAccessTrackSpte(format, spte) ? restoreAccTrackSpte(format, spte) : spte;
  return BigInt.asUintN(64, revealed & ~format.shadowAccessedMask);
}

/** Every leaf of both MMUs, by gfn and level, without what aging may change. */
export function mappingsWithoutAge(vm: Vm, cpu: Cpu): string[] {
  const { format } = (vm.tdp ?? vm.shadow)!;
  return mappedLeaves(vm, cpu)
    .map(({ gfn, level, spte }) => `${hex(gfn)} ${level} ${hex(withoutAge(format, spte))}`)
    .sort();
}
