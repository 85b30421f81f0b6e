import {
  type Address,
  type Cpu,
  createWordWidths,
  LockGraph,
  ThreadMachine,
  withAddressSanitizer,
  withLockdep,
  withWidthCheck,
} from "@kvm-age/machine";
import type { Hva, HvaToPfnRequest } from "@kvm-age/memslot";
import type { Pfn } from "@kvm-age/spte";
import {
  attachHostMm,
  createHostMm,
  type HostMm,
  type HostMmInit,
  type MmuNotifierRange,
  type MmuNotifierSubscriber,
} from "../src/index.js";
import { hvaToIndex } from "../src/page-table/mapping-window.js";

export const PAGE = 4096;
export const HUGE = 2 << 20;

export interface Host {
  readonly machine: ThreadMachine;
  /** Checks every access and lock. */
  readonly cpu: Cpu;
  /** The same processor without checks. */
  readonly rawCpu: Cpu;
  readonly hostMm: HostMm;
}

export function makeHost(init: Partial<HostMmInit> = {}, arenaBytes = 16 << 20): Host {
  const machine = ThreadMachine.create({ arenaBytes, maxCpus: 4 });
  const rawCpu = machine.attach();
  const cpu = checkedCpu(machine, rawCpu);
  const hostMm = createHostMm(cpu, machine, {
    pages: 256,
    transparentHugePages: false,
    contents: true,
    ...init,
  });
  return { machine, cpu, rawCpu, hostMm };
}

/** A second processor of the host's machine, with checks of its own, and its view of the host. */
export function anotherProcessor(host: Host): Host {
  const rawCpu = host.machine.attach();
  const hostMm = attachHostMm(host.machine, host.hostMm.handle);
  return { machine: host.machine, cpu: checkedCpu(host.machine, rawCpu), rawCpu, hostMm };
}

/** A processor whose locking, addresses and word widths are checked. */
function checkedCpu(machine: ThreadMachine, rawCpu: Cpu): Cpu {
  const checked = withAddressSanitizer(machine.frames)(rawCpu);
  return withLockdep(lockGraph)(withWidthCheck(createWordWidths(machine.arena.memory))(checked));
}

/** All tests of a file contribute to one order of locks. */
const lockGraph = new LockGraph();

export const READ: HvaToPfnRequest = {
  write: false,
  allowWritable: true,
  noWait: false,
  interruptible: false,
};
export const WRITE: HvaToPfnRequest = { ...READ, write: true };

export function at(base: Hva, pages: number): Hva {
  return (base + pages * PAGE) as Hva;
}

/** A lookup that must succeed. */
export function lookUp(host: Host, hva: Hva, request: HvaToPfnRequest): { pfn: Pfn; mapWritable: boolean } {
  const result = host.hostMm.hvaToPfn(host.cpu, hva, request);
  if (result.error !== null) throw new Error(`lookup failed: ${result.error}`);
  return result;
}

/** A guest access as KVM makes it: look up, (map,) release. */
export function guestTouch(host: Host, hva: Hva, write: boolean): Pfn {
  const { pfn } = lookUp(host, hva, write ? WRITE : READ);
  host.hostMm.releasePage(host.cpu, pfn, write ? "dirty" : "clean");
  return pfn;
}

/** Maps `pages` and touches each once by the VMM, so that all are young, inactive and on the LRU list. */
export function populate(host: Host, pages: number): Hva {
  const base = host.hostMm.mmapAnonymous(host.cpu, pages * PAGE, { thp: false });
  for (let page = 0; page < pages; page++) host.hostMm.userAccess(host.cpu, at(base, page), true);
  host.hostMm.lruAddDrainAll(host.cpu);
  return base;
}

/** Address of the PTE at `hva`, whose table must exist. */
export function pteWord(host: Host, hva: Hva): Address {
  const { pageTables } = host.hostMm.mm;
  const index = hvaToIndex(hva);
  return pageTables.pteOffset(host.cpu.readOnce(pageTables.pmdOffset(host.cpu, index)), index);
}

/** Takes the Accessed bits of all mapped pages and the marks that came with them. */
export function forgetAccesses(host: Host, base: Hva, pages: number): void {
  for (let page = 0; page < pages; page++) {
    const pfn = host.hostMm.pagemapLookup(host.cpu, at(base, page));
    if (pfn !== -1) markIdle(host, pfn);
  }
}

export function markIdle(host: Host, pfn: number): void {
  host.hostMm.pageIdle.writeWord(host.cpu, Math.floor(pfn / 64), 1n << BigInt(pfn % 64));
}

export function isIdle(host: Host, pfn: number): boolean {
  const word = host.hostMm.pageIdle.readWord(host.cpu, Math.floor(pfn / 64));
  return ((word >> BigInt(pfn % 64)) & 1n) === 1n;
}

/** Says what it is told to and writes down what it is asked. */
export class RecordingSubscriber implements MmuNotifierSubscriber {
  readonly log: string[] = [];
  young = false;
  /** Called inside every invalidateRangeStart. */
  onStart: ((range: MmuNotifierRange) => void) | null = null;
  /** Called inside every invalidateRangeEnd. */
  onEnd: ((range: MmuNotifierRange) => void) | null = null;

  constructor(readonly name = "kvm") {}

  invalidateRangeStart(_cpu: Cpu, range: MmuNotifierRange): void {
    this.write("start", range.start, range.end, range.event);
    this.onStart?.(range);
  }
  invalidateRangeEnd(_cpu: Cpu, range: MmuNotifierRange): void {
    this.write("end", range.start, range.end, range.event);
    this.onEnd?.(range);
  }
  clearFlushYoung(_cpu: Cpu, start: number, end: number): boolean {
    this.write("clearFlushYoung", start, end);
    return this.young;
  }
  clearYoung(_cpu: Cpu, start: number, end: number): boolean {
    this.write("clearYoung", start, end);
    return this.young;
  }
  testYoung(_cpu: Cpu, address: number): boolean {
    this.write("testYoung", address);
    return this.young;
  }
  release(_cpu: Cpu): void {
    this.write("release");
  }

  private write(call: string, ...numbers: number[]): void {
    this.log.push([`${this.name}.${call}`, ...numbers.map((number) => `0x${number.toString(16)}`)].join(" "));
  }
}
