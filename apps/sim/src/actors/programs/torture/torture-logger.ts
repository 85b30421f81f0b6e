import { KVM_MEM_LOG_DIRTY_PAGES, kvmClearDirtyLog, kvmGetDirtyLog } from "@kvm-age/memslot";
import type { Actor } from "../../actor.js";
import { type TortureSlot, tortureSlots } from "./layout.js";
import { Random } from "./random.js";
import { setTortureSlot } from "./torture-mover.js";
import { WrittenVersions } from "./written-versions.js";

/** How dirty logging did. `violations` are sentences; empty if no write was missed. */
export interface TortureLoggerReport {
  readonly harvests: number;
  readonly dirtyPages: number;
  readonly violations: string[];
}

const HARVESTS_PER_SESSION = 12;
const MAX_VIOLATIONS = 20;

/**
 * Switches dirty logging on, harvests a few times, switches it off, again and again. A write that was completed between the starts of two harvests
 * must be in one of the two: if it came before the first took its bits, in that; else it had to fault first, which sets the
 * bit for the second. Where the log is protected manually, bits are cleared after they were read; what is written in between is in what was
 * read, or sets a bit that is not cleared.
 */
export function tortureLogger(
  actor: Actor,
  step: number,
  seed: number,
  versions: SharedArrayBuffer,
): TortureLoggerReport {
  const random = new Random(seed);
  const { logged } = tortureSlots(actor.vm.handle);
  const written = new WrittenVersions(versions);
  const report = { harvests: 0, dirtyPages: 0, violations: [] as string[] };
  // Then writes are known to a log of the processor's that is not modelled.
  const { tuning, adBits } = actor.vm.config;
  const logsByHardware = tuning?.cpuDirtyLog === true && adBits;
  while (!actor.control.isOver(step)) {
    setTortureSlot(actor, logged, { flags: KVM_MEM_LOG_DIRTY_PAGES });
    let before = written.snapshot(logged.firstPage, logged.pages);
    // Logging has just begun: everything counts as harvested before.
    let previous: (page: number) => boolean = () => true;
    for (let harvest = 0; harvest < HARVESTS_PER_SESSION; harvest++) {
      actor.control.sleep(random.below(4), step);
      const now = written.snapshot(logged.firstPage, logged.pages);
      const isDirty = takeDirtyLog(actor, logged, report);
      if (harvest > 0 && !logsByHardware)
        check(before, now, (page) => previous(page) || isDirty(page), report);
      before = now;
      previous = isDirty;
    }
    setTortureSlot(actor, logged, { flags: 0 });
  }
  return report;
}

function takeDirtyLog(
  actor: Actor,
  slot: TortureSlot,
  report: { harvests: number; dirtyPages: number },
): (page: number) => boolean {
  const { vm, cpu } = actor;
  const bitmap = kvmGetDirtyLog(vm.memslots, cpu, vm.kvm, slot.id);
  if (vm.memslots.options.dirtyLogManualProtect) {
    const clear = { slot: slot.id, firstPage: 0, numPages: slot.pages, dirtyBitmap: bitmap };
    kvmClearDirtyLog(vm.memslots, cpu, vm.kvm, clear);
  }
  const isDirty = (page: number): boolean =>
    ((bitmap[Math.floor(page / 64)]! >> BigInt(page % 64)) & 1n) !== 0n;
  report.harvests++;
  for (let page = 0; page < bitmap.length * 64; page++) if (isDirty(page)) report.dirtyPages++;
  return isDirty;
}

function check(
  before: Uint32Array,
  now: Uint32Array,
  wasLogged: (page: number) => boolean,
  report: { readonly harvests: number; readonly violations: string[] },
): void {
  for (let page = 0; page < now.length; page++) {
    if (now[page] === before[page] || wasLogged(page)) continue;
    if (report.violations.length >= MAX_VIOLATIONS) return;
    report.violations.push(
      `page ${page} of the logged slot: version ${before[page]} became ${now[page]}, neither of two harvests says so (harvest ${report.harvests})`,
    );
  }
}
