import type { Address } from "@kvm-age/machine";
import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import type { KvmMmuPage } from "../../../src/page/kvm-mmu-page.js";
import { sptepToSp } from "../../../src/page/sptep-to-sp.js";
import type { ShadowMmuVcpu } from "../../../src/vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../../../src/walk/shadow-walk-iterator.js";
import type { ShadowGuest } from "../../kit/shadow-guest.js";

/** One entry on the path of an address through the shadow tables. */
export interface ShadowStep {
  readonly level: number;
  readonly sptep: Address;
  readonly index: number;
  readonly spte: Spte;
  readonly sp: KvmMmuPage;
}

/** The path of an address under the root of the context in use, from the top down to the last entry. */
export function shadowPath(guest: ShadowGuest, addr: number, vcpu: ShadowMmuVcpu = guest.vcpu): ShadowStep[] {
  const { mmu, cpu } = guest;
  const context = vcpu.current(cpu);
  const iterator = new ShadowWalkIterator(mmu, addr);
  const steps: ShadowStep[] = [];
  for (iterator.start(cpu, context, context.rootHpa(cpu)); iterator.okay(); ) {
    const { level, sptep, index } = iterator;
    const spte = cpu.readOnce(sptep) as Spte;
    steps.push({ level, sptep, index, spte, sp: sptepToSp(mmu, cpu, sptep) });
    iterator.next(spte);
  }
  return steps;
}

/** The last entry on the path. */
export function lastStep(guest: ShadowGuest, addr: number, vcpu: ShadowMmuVcpu = guest.vcpu): ShadowStep {
  const step = shadowPath(guest, addr, vcpu).at(-1);
  if (step === undefined) throw new Error("no root");
  return step;
}

/** The present leaf that maps an address, or null. */
export function leafOf(
  guest: ShadowGuest,
  addr: number,
  vcpu: ShadowMmuVcpu = guest.vcpu,
): ShadowStep | null {
  const step = shadowPath(guest, addr, vcpu).at(-1);
  return step !== undefined && isShadowPresentPte(step.spte) ? step : null;
}
