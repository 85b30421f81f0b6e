import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import type { GuestTableFormat } from "../../../guest/guest-table-format.js";
import { GuestTables } from "../../../guest/guest-tables.js";
import { guestTableFormat } from "../../../vm/boot-guest.js";
import { MMU_SHAPES } from "../../../vm/mmu-shape.js";
import type { Vm } from "../../../vm/vm.js";

// A guest with page tables of its own has, in a torture run, two roots for each vCPU. Each root maps the test memory one to one by tables
// that all roots share, and in a window, by tables of its own, pages as the vCPU likes. A window has two leaf tables; its directory entry
// chooses one of them.

/** Which of a vCPU's two roots, or of a root's two leaf tables. */
export type Choice = 0 | 1;

/** Pages of a window. */
export const WINDOW_SLOTS = 64;

/** Linear address of every window: in a quarter of a root's entry that neither the test memory nor the guest's tables use. */
const WINDOW_ADDRESS = 2 ** 40;
const ROOT_ENTRY_SPAN = 2 ** 39;
const PAGE_BYTES = 4096;
const ENTRY_BYTES = 8;

/** Frames of one root: itself, two tables on the way, two leaf tables. */
const FRAMES_PER_ROOT = 5;
const DIRECTORY_POINTERS = 1;
const DIRECTORY = 2;
const LEAF_TABLES = 3;
/** Frames of the tables by which a paging guest reaches its tables. */
const SELF_MAP_FRAMES = 8;

/** Pages for page tables that the windows of so many vCPUs need. */
export function windowTablePages(vcpus: number): number {
  return SELF_MAP_FRAMES + vcpus * 2 * FRAMES_PER_ROOT;
}

/** Where one vCPU's windows and their tables are. Addresses of tables are guest-physical. */
export class GuestWindows {
  private readonly firstFrame: number;
  readonly format: GuestTableFormat;

  constructor(
    private readonly vm: Vm,
    vcpu: number,
  ) {
    const { guestTables, config } = vm.handle;
    this.format = guestTableFormat(config);
    this.firstFrame = guestTables!.pages - (config.vcpus - vcpu) * 2 * FRAMES_PER_ROOT;
  }

  rootGpa(root: Choice): number {
    return this.frameGpa(root, 0);
  }

  /** Address that the guest has for a page of its window. */
  addressOf(slot: number): number {
    return WINDOW_ADDRESS + slot * PAGE_BYTES;
  }

  /** The entry that chooses the leaf table. */
  directoryEntryGpa(root: Choice): number {
    return this.frameGpa(root, DIRECTORY);
  }

  leafEntryGpa(root: Choice, table: Choice, slot: number): number {
    return this.frameGpa(root, LEAF_TABLES + table) + slot * ENTRY_BYTES;
  }

  /** The value of the directory entry that chooses a leaf table. */
  directoryEntry(root: Choice, table: Choice): bigint {
    return BigInt(this.frameGpa(root, LEAF_TABLES + table)) | this.format.table;
  }

  /** The value of a leaf entry that maps a test page. */
  leafEntry(page: number): bigint {
    return BigInt(this.vm.gpaOf(page)) | this.format.page;
  }

  /** The test page that a leaf entry maps now, as the guest's memory has it; one to map instead if it maps none. */
  mappedPage(cpu: Cpu, root: Choice, table: Choice, slot: number): number {
    const entry = this.load(cpu, this.leafEntryGpa(root, table, slot));
    return entry === 0n
      ? slot
      : Number(BigInt.asUintN(40, BigInt.asUintN(64, entry) >> 12n)) - this.vm.handle.baseGfn;
  }

  /** The leaf table that the directory entry chooses now. */
  chosenTable(cpu: Cpu, root: Choice): Choice {
    const entry = this.load(cpu, this.directoryEntryGpa(root));
    return BigInt.asUintN(40, BigInt.asUintN(64, entry) >> 12n) ===
      BigInt(this.frameGpa(root, LEAF_TABLES + 1) / PAGE_BYTES)
      ? 1
      : 0;
  }

  /** Builds both roots before the guest runs. `shared` are entries of the root by index. */
  build(cpu: Cpu, shared: ReadonlyMap<number, bigint>, firstPage: number): void {
    for (const root of [0, 1] as const) {
      for (const [index, entry] of shared) this.store(cpu, this.rootGpa(root) + index * ENTRY_BYTES, entry);
      const rootEntry = this.rootGpa(root) + (WINDOW_ADDRESS / ROOT_ENTRY_SPAN) * ENTRY_BYTES;
      this.store(cpu, rootEntry, BigInt(this.frameGpa(root, DIRECTORY_POINTERS)) | this.format.table);
      const directory = BigInt(this.frameGpa(root, DIRECTORY)) | this.format.table;
      this.store(cpu, this.frameGpa(root, DIRECTORY_POINTERS), directory);
      this.store(cpu, this.directoryEntryGpa(root), this.directoryEntry(root, 0));
      for (const table of [0, 1] as const) this.fill(cpu, root, table, firstPage);
    }
  }

  private fill(cpu: Cpu, root: Choice, table: Choice, firstPage: number): void {
    const { guestPages } = this.vm.config;
    for (let slot = 0; slot < WINDOW_SLOTS; slot++) {
      const page = (firstPage + slot * 7 + root * 3 + table) % guestPages;
      this.store(cpu, this.leafEntryGpa(root, table, slot), this.leafEntry(page));
    }
  }

  private frameGpa(root: Choice, frame: number): number {
    return this.vm.handle.guestTables!.gpa + (this.firstFrame + root * FRAMES_PER_ROOT + frame) * PAGE_BYTES;
  }

  private load(cpu: Cpu, gpa: number): bigint {
    return BigInt.asUintN(64, this.vm.hostMm.loadUser(cpu, hvaOfTable(this.vm, gpa), 8, false)!);
  }

  private store(cpu: Cpu, gpa: number, value: bigint): void {
    this.vm.hostMm.storeUser(cpu, hvaOfTable(this.vm, gpa), 8, value, false);
  }
}

/** Host virtual address of a byte of the guest's page tables. */
function hvaOfTable(vm: Vm, gpa: number): Hva {
  const { guestTables } = vm.handle;
  return (guestTables!.hva + (gpa - guestTables!.gpa)) as Hva;
}

/** Tables by which a paging guest reaches its own tables, one to one; the root's entry for them. */
function selfMapEntry(vm: Vm, cpu: Cpu, format: GuestTableFormat): bigint {
  const { gpa, hva, pages } = vm.handle.guestTables!;
  const first = pages - windowTablePages(vm.config.vcpus);
  const area = {
    gpa: gpa + first * PAGE_BYTES,
    hva: (hva + first * PAGE_BYTES) as Hva,
    pages: SELF_MAP_FRAMES,
  };
  new GuestTables(vm.hostMm, area, format).map(cpu, gpa, gpa, pages, 1);
  return vm.hostMm.loadUser(cpu, area.hva, 8, false)!;
}

/** Builds the windows of every vCPU, before the guests run. Nothing to do for guests without page tables. */
export function buildGuestWindows(vm: Vm, cpu: Cpu): void {
  if (MMU_SHAPES[vm.config.mmu].guestTables === "none") return;
  const { vcpus, guestPages } = vm.config;
  const { format } = new GuestWindows(vm, 0);
  const memoryIndex = Math.floor(vm.gpaOf(0) / ROOT_ENTRY_SPAN);
  const memoryEntry = hvaOfTable(vm, vm.handle.guestTables!.gpa + memoryIndex * ENTRY_BYTES);
  const shared = new Map([[memoryIndex, vm.hostMm.loadUser(cpu, memoryEntry, 8, false)!]]);
  if (MMU_SHAPES[vm.config.mmu].guestTables === "paging") shared.set(0, selfMapEntry(vm, cpu, format));
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    new GuestWindows(vm, vcpu).build(cpu, shared, Math.floor((vcpu * guestPages) / vcpus));
  }
}
