import type { AccessKind, AccessResult } from "@kvm-age/vcpu";
import { guestTablesOf } from "../../../vm/boot-guest.js";
import { type Choice, GuestWindows, WINDOW_SLOTS } from "./guest-windows.js";
import type { TortureGuest, TortureTarget } from "./torture-guest.js";
import type { TortureProcessor } from "./torture-processor.js";

const WRITABLE = 2n;
/** Faults of its own making that a guest mends for one access before it takes the access to have failed. */
const MAX_MENDS = 16;
/** Pages of the one-to-one map that share an entry of level 2. */
const PAGES_PER_2M = 512;

/** A page of the window, or one of the test memory's own place. */
interface WindowTarget extends TortureTarget {
  /** Number in the window; null for the test memory's own place. */
  readonly slot: number | null;
}

/**
 * A guest that edits its page tables while it runs: it maps other pages into its window, unmaps some, goes over to other leaf tables and
 * other roots, and takes W, A and D from entries that it shares with the other vCPUs. After each edit of its own window it invalidates what
 * it has cached, and from then on only the new page may be reached. Who it is that paging is for, is the subclasses' to say.
 */
export abstract class WindowedGuest implements TortureGuest {
  protected readonly windows: GuestWindows;
  /** The root in use. */
  protected root: Choice = 0;
  /** Test page of each window page, by root and leaf table. */
  private readonly pages: number[][][];
  /** The leaf table in use, by root. */
  private readonly tables: [Choice, Choice];

  constructor(protected readonly processor: TortureProcessor) {
    const { vm, cpu, guest } = processor;
    const windows = new GuestWindows(vm, guest.index);
    this.windows = windows;
    this.pages = ([0, 1] as const).map((root) =>
      ([0, 1] as const).map((table) =>
        Array.from({ length: WINDOW_SLOTS }, (_, slot) => windows.mappedPage(cpu, root, table, slot)),
      ),
    );
    this.tables = [windows.chosenTable(cpu, 0), windows.chosenTable(cpu, 1)];
  }

  /** Stores an entry of a page table; it counts after the next `invalidate` or `flush`. */
  protected abstract storeEntry(gpa: number, value: bigint): void;
  /** Invalidates what is cached for one address. */
  protected abstract invalidate(address: number): void;
  /** Invalidates everything that is cached. */
  protected abstract flush(): void;
  /** Makes `root` the one in use. */
  protected abstract loadRoot(): void;
  /** Whether the last access, which ended with `result`, is for the guest to mend. */
  protected abstract isOwnFault(result: AccessResult): boolean;

  target(page: number): WindowTarget {
    const { random, vm } = this.processor;
    if (!random.oneIn(3)) return { page, address: vm.gpaOf(page), slot: null };
    const slot = random.below(WINDOW_SLOTS);
    return { page: this.windowPages()[slot]!, address: this.windows.addressOf(slot), slot };
  }

  access(target: WindowTarget, kind: AccessKind): AccessResult {
    const { guest, cpu } = this.processor;
    let result = guest.hardware.access(cpu, target.address, kind);
    for (let mends = 0; mends < MAX_MENDS && this.isOwnFault(result); mends++) {
      this.mend(target);
      result = guest.hardware.access(cpu, target.address, kind);
    }
    return result;
  }

  disturb(): void {
    const { random } = this.processor;
    switch (random.below(8)) {
      case 0:
        this.switchRoot();
        break;
      case 1:
        this.switchTable();
        break;
      case 2:
        this.flush();
        break;
      case 3:
      case 4:
        this.weakenSharedEntry();
        break;
      case 5:
        this.unmapSlot(random.below(WINDOW_SLOTS));
        break;
      default:
        this.remapSlot(random.below(WINDOW_SLOTS));
    }
  }

  finish(): void {
    this.flush();
    const { guest, cpu, vm } = this.processor;
    // Enters once more, so that the roots are loaded and in line with the tables.
    guest.hardware.access(cpu, vm.gpaOf(0), "read");
    guest.hardware.exitGuest(cpu);
  }

  private windowPages(): number[] {
    return this.pages[this.root]![this.tables[this.root]]!;
  }

  private leafEntryGpa(slot: number): number {
    return this.windows.leafEntryGpa(this.root, this.tables[this.root], slot);
  }

  private remapSlot(slot: number): void {
    const { random, vm } = this.processor;
    const page = random.below(vm.config.guestPages);
    this.windowPages()[slot] = page;
    this.storeEntry(this.leafEntryGpa(slot), this.windows.leafEntry(page));
    this.invalidate(this.windows.addressOf(slot));
  }

  /** The next access to the page faults, and maps it again. */
  private unmapSlot(slot: number): void {
    this.storeEntry(this.leafEntryGpa(slot), 0n);
    this.invalidate(this.windows.addressOf(slot));
  }

  private switchRoot(): void {
    this.root = this.root === 0 ? 1 : 0;
    this.loadRoot();
  }

  private switchTable(): void {
    const table: Choice = this.tables[this.root] === 0 ? 1 : 0;
    this.tables[this.root] = table;
    this.storeEntry(this.windows.directoryEntryGpa(this.root), this.windows.directoryEntry(this.root, table));
    this.flush();
  }

  /** Takes W, or A and D, from an entry of the one-to-one map, under the other vCPUs' walks. */
  private weakenSharedEntry(): void {
    const { random, vm } = this.processor;
    const page = random.below(vm.config.guestPages);
    const gpa = this.sharedEntryGpa(page);
    const weak = random.oneIn(2) ? this.sharedEntry(page) & ~WRITABLE : this.sharedEntry(page);
    this.storeEntry(gpa, weak);
    if (random.oneIn(2)) this.invalidate(vm.gpaOf(page));
  }

  /** Restores the entry that an access needs. */
  private mend({ page, address, slot }: WindowTarget): void {
    if (slot === null) this.storeEntry(this.sharedEntryGpa(page), this.sharedEntry(page));
    else this.storeEntry(this.leafEntryGpa(slot), this.windows.leafEntry(page));
    this.invalidate(address);
  }

  private isLarge(): boolean {
    const { guestPages, hugePages } = this.processor.vm.config;
    return hugePages && guestPages % PAGES_PER_2M === 0;
  }

  private sharedEntryGpa(page: number): number {
    const { vm, cpu } = this.processor;
    return guestTablesOf(vm).entryGpa(cpu, vm.gpaOf(page), this.isLarge() ? 2 : 1);
  }

  /** The entry of the one-to-one map for a page, with every permission, not accessed and not dirty. */
  private sharedEntry(page: number): bigint {
    const { vm } = this.processor;
    const first = this.isLarge() ? page - (page % PAGES_PER_2M) : page;
    const { format } = this.windows;
    return BigInt(vm.gpaOf(first)) | (this.isLarge() ? format.largePage : format.page);
  }
}
