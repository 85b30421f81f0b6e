import type { Cpu } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES, kvmClearDirtyLog, kvmGetDirtyLog } from "@kvm-age/memslot";
import { tortureSlots } from "../../actors/programs/torture/layout.js";
import { setTortureSlot } from "../../actors/programs/torture/torture-mover.js";
import type { Vm } from "../../vm/vm.js";

/** Where the slot that moves is. */
type MovingSlotPlace = "home" | "away" | "deleted";

/** The two slots of a suite's VM: one that moves, one that is dirty-logged. */
export class SuiteSlots {
  private place: MovingSlotPlace = "home";
  private isLogging = false;
  /** Pages of the logged slot that were written and not harvested yet. */
  private readonly written = new Set<number>();
  /** Every harvest, as text. */
  readonly harvests: string[] = [];

  constructor(
    readonly vm: Vm,
    readonly cpu: Cpu,
  ) {}

  /** Whether a slot maps a test page at its own place. */
  isMapped(page: number): boolean {
    const { moving } = tortureSlots(this.vm.handle);
    return page >= moving.firstPage + moving.pages || this.place === "home";
  }

  /** The guest has written to a page. */
  noteWrite(page: number): void {
    const { logged } = tortureSlots(this.vm.handle);
    if (this.isLogging && page >= logged.firstPage) this.written.add(page - logged.firstPage);
  }

  /** Deletes the moving slot, makes it again, moves it away or back. */
  move(choice: number): void {
    const { moving } = tortureSlots(this.vm.handle);
    if (this.place === "deleted") {
      setTortureSlot(this, moving, {});
      this.place = "home";
    } else if (choice % 2 === 0) {
      setTortureSlot(this, moving, { deleted: true });
      this.place = "deleted";
    } else {
      const away = this.place === "home";
      setTortureSlot(this, moving, { away });
      this.place = away ? "away" : "home";
    }
  }

  /** Switches dirty logging of the logged slot. */
  toggleLogging(): void {
    const { logged } = tortureSlots(this.vm.handle);
    this.isLogging = !this.isLogging;
    this.written.clear();
    setTortureSlot(this, logged, { flags: this.isLogging ? KVM_MEM_LOG_DIRTY_PAGES : 0 });
  }

  /** Reads the dirty log, and clears it; sentences about writes that it does not have. */
  harvest(): string[] {
    if (!this.isLogging) return [];
    const { logged } = tortureSlots(this.vm.handle);
    const { memslots, kvm, config } = this.vm;
    const bitmap = kvmGetDirtyLog(memslots, this.cpu, kvm, logged.id);
    if (memslots.options.dirtyLogManualProtect) {
      const clear = { slot: logged.id, firstPage: 0, numPages: logged.pages, dirtyBitmap: bitmap };
      kvmClearDirtyLog(memslots, this.cpu, kvm, clear);
    }
    this.harvests.push([...bitmap].map((word) => word.toString(16)).join(","));
    const isDirty = (page: number): boolean =>
      ((bitmap[Math.floor(page / 64)]! >> BigInt(page % 64)) & 1n) !== 0n;
    const missing = [...this.written].filter((page) => !isDirty(page));
    this.written.clear();
    // A processor's own log is not modelled.
    if (config.tuning?.cpuDirtyLog === true && config.adBits) return [];
    return missing.map(
      (page) => `[locking-7] page ${page} of the logged slot was written and is not in the log`,
    );
  }
}
