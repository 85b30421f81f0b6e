import { kvmGetDirtyLog } from "@kvm-age/memslot";
import type { AccessKind } from "@kvm-age/vcpu";
import { ModelTables } from "../../../src/conformance/model/model-tables.js";
import { Agevm, TEST_SLOT } from "./agevm.js";
import { type AgevmConfig, TEST_GFN } from "./agevm-config.js";
import { race } from "./agevm-race.js";
import { IdleBitmap } from "./idle-bitmap.js";

/** An action and its words, those of a range also as numbers: page and pages, all if it names none. */
interface ActionArguments {
  readonly action: string;
  readonly first: number;
  readonly count: number;
  readonly args: readonly string[];
}

/** Thrown for an action that the scripted VMM does not have. */
export class UnknownActionError extends Error {
  override readonly name = "UnknownActionError";

  constructor(action: string) {
    super(`unknown action ${action}`);
  }
}

/** Performs the recorded VMM's actions, with its notes. */
export class AgevmScript {
  readonly idle: IdleBitmap;
  private readonly actions: Readonly<Record<string, (arguments_: ActionArguments) => void>> = {
    w: ({ first, count }) => this.guest("w", "write", first, count),
    r: ({ first, count }) => this.guest("r", "read", first, count),
    x: ({ first, count }) => this.guest("x", "fetch", first, count),
    map: ({ first, count }) => this.map(first, count),
    sh: () => this.dropCaches(),
    dump: ({ action, first, count }) => this.dump(action, first, count),
    idle: ({ first, count }) => this.idle.set(first, count),
    q: ({ first, count }) => this.idle.get(first, count),
    log: ({ args }) => this.setLogging(args[0] === "1"),
    getlog: () => this.getLog(),
    del: () => this.bracket("slot_delete", () => this.setTestSlot(0)),
    add: () => this.bracket("slot_add", () => this.setTestSlot(this.vm.config.pages)),
    madv: ({ first, count, args }) => this.madvise(first, count, args[2]!),
    prot: ({ first, count, args }) => this.mprotect(first, count, Number(args[2])),
    htouch: ({ first, count }) => this.hostAccess(first, count, true),
    hread: ({ first, count }) => this.hostAccess(first, count, false),
    race: ({ args }) => race(this, args[0]!, Number(args[1]), args[2]!),
  };

  constructor(readonly vm: Agevm) {
    this.idle = new IdleBitmap(vm);
  }

  run(actions: readonly string[]): void {
    for (const action of actions) {
      this.perform(action);
      this.vm.cpu.rcuBarrier();
    }
  }

  perform(action: string): void {
    const [name, ...args] = action.split(":");
    const [first, count] = this.range(args);
    const perform = this.actions[name!];
    if (perform === undefined) throw new UnknownActionError(action);
    perform({ action, first, count, args });
  }

  private range([first, count]: readonly string[]): [first: number, count: number] {
    return [Number(first ?? 0), Number(count ?? this.vm.config.pages)];
  }

  private guest(name: string, kind: AccessKind, first: number, count: number): void {
    const { log, cpu } = this.vm;
    log.note(`guest_${name} begin vcpu=0 first=${first.toString(16)} count=${count} stride=1`);
    const addresses = Array.from({ length: count }, (_, index) => (TEST_GFN + first + index) * 4096);
    this.vm.vcpu(0).loop(cpu, kind, addresses);
    log.note(`guest_${name} end rc=0`);
  }

  private map(first: number, count: number): void {
    const { log, hostMm, cpu } = this.vm;
    for (let page = first; page < first + count; page++) {
      const hva = this.vm.hvaOf(page);
      const pfn = Math.max(0, hostMm.pagemapLookup(cpu, hva));
      const gfn = (TEST_GFN + page).toString(16);
      log.note(`map page=${page.toString(16)} gfn=${gfn} hva=${hva.toString(16)} pfn=${pfn.toString(16)}`);
    }
    log.note(`map first=${first.toString(16)} count=${count}`);
  }

  /** `echo 3 > drop_caches`, of which only this matters: pages move onto the LRU lists. */
  private dropCaches(): void {
    this.vm.log.note("sh begin echo 3 > /proc/sys/vm/drop_caches");
    this.vm.hostMm.lruAddDrainAll(this.vm.cpu);
    this.vm.log.note("sh end rc=0");
  }

  private dump(action: string, first: number, count: number): void {
    const { log, cpu, format, rootLevel } = this.vm;
    const root = this.vm.vcpu(0).rootHpa(cpu);
    const gfn = TEST_GFN + first;
    const where = `root=${root.toString(16)} level=${rootLevel} first=${gfn.toString(16)} n=${count}`;
    log.note(`dump begin ${action} ${where}`);
    const tables = new ModelTables(format, cpu, rootLevel === 3 ? 2 : 4);
    const entries = tables.range(root, gfn, count);
    for (const entry of entries) {
      const { level, address, spte, last } = entry;
      const place = `level=${level} gfn=${entry.gfn.toString(16)} sptep=${address.toString(16)}`;
      log.note(`spte ${place} val=${spte.toString(16)} ${last ? "leaf" : "table"}`);
    }
    log.note(`dump end ${action} entries=${entries.length}`);
  }

  private setTestSlot(pages: number, logging = false): void {
    this.vm.setSlot(TEST_SLOT, TEST_GFN, this.vm.baseHva, pages, logging);
  }

  private setLogging(on: boolean): void {
    this.bracket(`log ${on ? 1 : 0}`, () => this.setTestSlot(this.vm.config.pages, on));
  }

  private bracket(what: string, work: () => void): void {
    this.vm.log.note(`${what} begin`);
    work();
    this.vm.log.note(`${what} end`);
  }

  getLog(): void {
    const { memslots, cpu, kvm, log } = this.vm;
    const words = kvmGetDirtyLog(memslots, cpu, kvm, TEST_SLOT);
    let dirty = 0;
    for (const [index, word] of words.entries()) {
      if (word === 0n) continue;
      dirty += word.toString(2).replaceAll("0", "").length;
      log.note(`dirty_bitmap word=${index} ${word.toString(16).padStart(16, "0")}`);
    }
    log.note(`getlog dirty=${dirty}`);
  }

  private madvise(first: number, count: number, what: string): void {
    if (what !== "dontneed") throw new UnknownActionError(`madv ${what}`);
    const { log, hostMm, cpu } = this.vm;
    log.note(`madvise dontneed begin first=${first.toString(16)} count=${count}`);
    hostMm.madviseDontneed(cpu, this.vm.hvaOf(first), count * 4096);
    log.note("madvise dontneed end rc=0");
  }

  private mprotect(first: number, count: number, bits: number): void {
    const { log, hostMm, cpu } = this.vm;
    log.note(`mprotect begin first=${first.toString(16)} count=${count} prot=${bits}`);
    hostMm.mprotect(cpu, this.vm.hvaOf(first), count * 4096, (bits & 2) !== 0);
    log.note("mprotect end rc=0");
  }

  private hostAccess(first: number, count: number, write: boolean): void {
    const { log, hostMm, cpu } = this.vm;
    for (let page = first; page < first + count; page++) hostMm.userAccess(cpu, this.vm.hvaOf(page), write);
    log.note(`host_${write ? "write" : "read"} first=${first.toString(16)} count=${count}`);
  }
}

/** The trace of a VM that performs `actions`, separated by blanks. */
export function agevmTrace(config: AgevmConfig, actions: string): string {
  const vm = new Agevm(config);
  const { pages, vcpus, guest, backing } = config;
  const flag = (letter: string): number => (guest.includes(letter) ? 1 : 0);
  const guestWords = `g2m=${flag("g")} presetAD=${flag("A")} nonpaging=${flag("n")}`;
  const where = `hva=${vm.baseHva.toString(16)} gfn_base=${TEST_GFN.toString(16)}`;
  vm.log.note(`start pid=700 mode=${backing} npages=${pages} nvcpu=${vcpus} ${guestWords} ${where}`);
  new AgevmScript(vm).run(actions.split(" "));
  vm.exit();
  return vm.log.text(config.kernel);
}
