import { type Cpu, type FlushDomain, flushDomainBytes, ThreadMachine } from "@kvm-age/machine";
import {
  createMemslots,
  type Hva,
  KVM_MEM_READONLY,
  kvmSetMemoryRegion,
  type Memslots,
  noSecondaryMmu,
  type SecondaryMmu,
} from "@kvm-age/memslot";
import { createSpteFormat, type Gfn, linux73, type RuleSet, type SpteFormat } from "@kvm-age/spte";
import { createShadowMmu } from "../../../src/create-shadow-mmu.js";
import type { ShadowMmu } from "../../../src/shadow-mmu.js";
import type { ShadowMmuOptions } from "../../../src/shadow-mmu-options.js";
import { createShadowMmuVcpu, type ShadowMmuVcpu } from "../../../src/vcpu/shadow-mmu-vcpu.js";
import { ByteHost, HOST_BASE } from "./byte-host.js";

/** Pages of slot 0, which has bytes. */
export const BACKED_PAGES = 256;
/** First page and length of slot 1: read-only, the same bytes as the end of slot 0. */
export const ROM_GFN = 0x1000;
export const ROM_PAGES = 8;
/** First page and length of slot 2: data without bytes, aligned to 1 GiB. */
export const DATA_GFN = 0x40000;
export const DATA_PAGES = 0x40000;

export interface GuestRigInit {
  readonly mode?: "shadow" | "npt" | "ept";
  readonly ruleSet?: RuleSet;
  readonly hostLevel?: 4 | 5;
  readonly adBits?: boolean;
  readonly execOnly?: boolean;
  readonly maxPhyAddr?: number;
  readonly options?: Partial<ShadowMmuOptions>;
  readonly arch?: SecondaryMmu;
}

/** One VM with one vCPU, three slots and guest memory with bytes, on one thread. No context is set up. */
export class GuestRig {
  readonly machine: ThreadMachine;
  readonly cpu: Cpu;
  readonly host: ByteHost;
  readonly format: SpteFormat;
  readonly memslots: Memslots;
  readonly flushDomain: FlushDomain;
  readonly mmu: ShadowMmu;
  readonly vcpu: ShadowMmuVcpu;

  constructor(init: GuestRigInit = {}) {
    this.machine = ThreadMachine.create({ arenaBytes: 48 << 20, maxCpus: 2 });
    this.cpu = this.machine.attach();
    const { cpu, machine } = this;
    const mode = init.mode ?? "shadow";
    const ruleSet = init.ruleSet ?? linux73;
    this.format = createSpteFormat({
      mode,
      ruleSet,
      maxPhyAddr: init.maxPhyAddr ?? 46,
      ...(mode === "ept" ? { adBits: init.adBits ?? true, execOnly: init.execOnly ?? false } : {}),
    });
    this.memslots = createMemslots(cpu, machine, {
      maxGfn: (2 ** 34 - 1) as Gfn,
      tdpMmuEnabled: false,
      tdpEnabled: mode !== "shadow",
    });
    this.flushDomain = { address: machine.frames.allocateSpan(cpu, flushDomainBytes(2)), maxMembers: 2 };
    this.host = new ByteHost(cpu, machine, BACKED_PAGES);
    this.mmu = createShadowMmu(cpu, machine, this, {
      format: this.format,
      hostLevel: init.hostLevel ?? 4,
      options: init.options ?? {},
    });
    this.vcpu = createShadowMmuVcpu(this.mmu, cpu, 0);
    this.setRegion(0, 0, BACKED_PAGES, HOST_BASE, 0, init.arch);
    const rom = BACKED_PAGES - ROM_PAGES;
    this.setRegion(1, ROM_GFN, ROM_PAGES, (HOST_BASE + rom * 4096) as Hva, KVM_MEM_READONLY, init.arch);
    this.setRegion(2, DATA_GFN, DATA_PAGES, (HOST_BASE + DATA_GFN * 4096) as Hva, 0, init.arch);
  }

  /** `KVM_SET_USER_MEMORY_REGION` in pages. */
  setRegion(slot: number, gfn: number, pages: number, hva: Hva, flags: number, arch?: SecondaryMmu): void {
    kvmSetMemoryRegion(this.memslots, this.cpu, arch ?? noSecondaryMmu, {
      slot,
      flags,
      guestPhysAddr: gfn * 4096,
      memorySize: pages * 4096,
      userspaceAddr: hva,
    });
  }

  /** What a processor of the guest's sees at a guest-physical address with bytes. */
  peek(gpa: number): bigint {
    return this.cpu.readOnce(this.wordAt(gpa));
  }

  /** Stores without anybody being told, as a processor of the guest's does. */
  poke(gpa: number, value: bigint): void {
    this.cpu.writeOnce(this.wordAt(gpa), BigInt.asUintN(64, value));
  }

  wordAt(gpa: number): NonNullable<ReturnType<ByteHost["word"]>> {
    const gfn = Math.floor(gpa / 4096);
    const page = gfn >= ROM_GFN && gfn < ROM_GFN + ROM_PAGES ? gfn - ROM_GFN + BACKED_PAGES - ROM_PAGES : gfn;
    const word = this.host.word(HOST_BASE + page * 4096 + (gpa % 4096));
    if (word === null) throw new Error(`no bytes at gpa 0x${gpa.toString(16)}`);
    return word;
  }
}
