import { type Address, type Cpu, FRAME_BYTES, NULL_ADDRESS, offset } from "@kvm-age/machine";
import {
  isLastSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  type PgLevel,
  PT64_ROOT_4LEVEL,
  roleLevel,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";
import type { Vm } from "../vm/vm.js";

/** What a root translates: guest-physical addresses, the guest's linear ones, or L2's physical ones. */
export type RootKind = "tdp" | "direct" | "shadow" | "nested";

/** A root that a vCPU's hardware walks from. */
export interface VcpuRoot {
  readonly vcpu: number;
  readonly kind: RootKind;
  readonly rootHpa: Address;
  readonly level: PgLevel;
}

/** One leaf that hardware can reach from a root. */
export interface ReachableLeaf {
  /** First page of the address range that it translates: address divided by 4096. */
  readonly page: number;
  readonly level: PgLevel;
  readonly spte: Spte;
}

function shadowRoots(vm: Vm, cpu: Cpu, index: number): VcpuRoot[] {
  const vcpu = vm.vcpu(index).shadow;
  if (vm.shadow === null || vcpu === null) return [];
  const notNested: RootKind = vm.shadow.tdpEnabled ? "direct" : "shadow";
  return (
    [
      { kind: notNested, context: vcpu.rootMmu },
      { kind: "nested" as const, context: vcpu.guestMmu },
    ]
      .map(({ kind, context }) => ({
        vcpu: index,
        kind,
        rootHpa: context.rootHpa(cpu),
        level: roleLevel(context.rootRole(cpu)),
      }))
      // Three-level roots have no page of their own; no VM of this house keeps its guest in such a mode.
      .filter(({ level }) => level >= PT64_ROOT_4LEVEL)
  );
}

/** The roots that are loaded, of every vCPU and context. */
export function vcpuRoots(vm: Vm, cpu: Cpu): VcpuRoot[] {
  return vm.handle.vcpus
    .flatMap((_, index): VcpuRoot[] => {
      const tdp = vm.vcpu(index).tdp;
      const own: VcpuRoot[] =
        tdp === null
          ? []
          : [
              {
                vcpu: index,
                kind: "tdp",
                rootHpa: cpu.readOnce32(tdp.rootHpaWord) as Address,
                level: PT64_ROOT_4LEVEL,
              },
            ];
      return [...own, ...shadowRoots(vm, cpu, index)];
    })
    .filter(({ rootHpa }) => rootHpa !== NULL_ADDRESS);
}

/** Calls `visit` with every leaf under a table, as hardware would find it. */
export function forEachReachableLeaf(
  format: SpteFormat,
  cpu: Cpu,
  { rootHpa, level }: Pick<VcpuRoot, "rootHpa" | "level">,
  visit: (leaf: ReachableLeaf) => void,
  firstPage = 0,
): void {
  for (let index = 0; index < 512; index++) {
    const spte = cpu.readOnce(offset(rootHpa, index * 8)) as Spte;
    if (!isShadowPresentPte(spte)) continue;
    const page = firstPage + index * kvmPagesPerHpage(level);
    if (isLastSpte(spte, level)) {
      visit({ page, level, spte });
      continue;
    }
    const child = (spteToPfn(format, spte) * FRAME_BYTES) as Address;
    forEachReachableLeaf(format, cpu, { rootHpa: child, level: (level - 1) as PgLevel }, visit, page);
  }
}
