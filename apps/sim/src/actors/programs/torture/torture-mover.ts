import { KVM_MEM_LOG_DIRTY_PAGES, kvmSetMemoryRegion } from "@kvm-age/memslot";
import { kvmShadowRecoverNxHugePages } from "@kvm-age/shadow-mmu";
import { kvmRecoverNxHugePages } from "@kvm-age/tdp-mmu";
import type { Actor } from "../../actor.js";
import { type TortureSlot, tortureSlots } from "./layout.js";
import { Random } from "./random.js";

/** How many updates of each kind were made. */
export interface TortureMoverReport {
  readonly deleted: number;
  readonly moved: number;
  readonly flagged: number;
}

const LEAST_QUOTA = 48;
const COMFORTABLE_QUOTA = 400;

/** Gfns between the test memory and where the slot is moved to for a while. */
const AWAY_PAGES = 1 << 22;

/** Sets a slot of the torture VM: at its place or away, or deletes it. */
export function setTortureSlot(
  actor: Pick<Actor, "vm" | "cpu">,
  slot: TortureSlot,
  change: { readonly flags?: number; readonly away?: boolean; readonly deleted?: boolean },
): void {
  const { vm, cpu } = actor;
  const home = vm.gpaOf(slot.firstPage);
  kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, {
    slot: slot.id,
    flags: change.flags ?? 0,
    guestPhysAddr: change.away === true ? home - AWAY_PAGES * 4096 : home,
    memorySize: change.deleted === true ? 0 : slot.pages * 4096,
    userspaceAddr: vm.hvaOf(slot.firstPage),
  });
}

/** A period of the NX recovery worker, of each MMU. */
function recoverNxHugePages({ vm, cpu }: Actor): void {
  if (vm.tdp !== null) kvmRecoverNxHugePages(vm.tdp, cpu);
  if (vm.shadow !== null) kvmShadowRecoverNxHugePages(vm.shadow, cpu);
}

/** A quota of shadow pages that is hardly enough for the roots, for a moment, and then a comfortable one. */
function squeezeQuota({ vm, cpu }: Actor): void {
  vm.kvm.changeMmuPages(cpu, LEAST_QUOTA);
  vm.kvm.changeMmuPages(cpu, COMFORTABLE_QUOTA);
}

/** Deletes the moving slot and makes it again, moves it away and back, switches its dirty logging; recovers huge pages, zaps shadow pages by quota. */
export function tortureMover(actor: Actor, step: number, seed: number): TortureMoverReport {
  const random = new Random(seed);
  const { moving } = tortureSlots(actor.vm.handle);
  const report = { deleted: 0, moved: 0, flagged: 0 };
  while (!actor.control.isOver(step)) {
    switch (random.below(5)) {
      case 0:
        setTortureSlot(actor, moving, { deleted: true });
        setTortureSlot(actor, moving, {});
        report.deleted++;
        break;
      case 1:
        setTortureSlot(actor, moving, { away: true });
        setTortureSlot(actor, moving, {});
        report.moved++;
        break;
      case 2:
        recoverNxHugePages(actor);
        break;
      case 3:
        squeezeQuota(actor);
        break;
      default:
        setTortureSlot(actor, moving, { flags: KVM_MEM_LOG_DIRTY_PAGES });
        setTortureSlot(actor, moving, { flags: 0 });
        report.flagged++;
    }
    actor.control.sleep(random.below(3), step);
  }
  return report;
}
