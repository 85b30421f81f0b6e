import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type Address, type Cpu, flushDomainBytes, offset, ThreadMachine } from "@kvm-age/machine";
import {
  createMemslots,
  type Hva,
  KVM_FILTER_SHARED,
  kvmSetMemoryRegion,
  noSecondaryMmu,
} from "@kvm-age/memslot";
import { checkRmapHead, pteListAdd } from "@kvm-age/rmap";
import {
  createSpteFormat,
  type Gfn,
  linux73,
  type PgLevel,
  type RuleSet,
  type SpteFormat,
} from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { kvmRmapAgeGfnRange } from "../../src/aging/kvm-rmap-age-gfn-range.js";
import { createShadowMmu } from "../../src/create-shadow-mmu.js";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { ByteHost, HOST_BASE } from "../guest/kit/byte-host.js";

interface SetUp {
  readonly mode: "ept" | "npt" | "shadow";
  readonly cpuid_maxphyaddr: number;
  readonly x86_phys_bits: number;
  readonly calls: readonly (readonly [string, ...unknown[]])[];
}

interface RecordedCase {
  readonly id: string;
  readonly config: string;
  readonly in: {
    readonly slot_base_gfn: string;
    readonly slot_npages: number;
    readonly sptes: readonly (readonly [PgLevel, string, string])[];
    readonly start: string;
    readonly end: string;
    readonly test_only: boolean;
  };
  readonly out: { readonly young: boolean; readonly after: readonly string[]; readonly warnings: number };
}

interface VectorFile {
  readonly source: string;
  readonly configs: Record<string, { readonly in: SetUp; readonly out: Record<string, string> }>;
  readonly cases: readonly RecordedCase[];
}

/** What Linux 7.3.4's own `kvm_rmap_age_gfn_range` did. */
const recorded: VectorFile = JSON.parse(
  gunzipSync(readFileSync(new URL("../fixtures/linux-7.3/rmap-age.json.gz", import.meta.url))).toString(
    "utf8",
  ),
);

function formatOf(config: string, ruleSet: RuleSet): SpteFormat {
  const setUp = recorded.configs[config]!.in;
  const eptMasks = setUp.calls.find(([name]) => name === "kvm_mmu_set_ept_masks");
  return createSpteFormat({
    mode: setUp.mode,
    ruleSet,
    maxPhyAddr: setUp.cpuid_maxphyaddr,
    physBits: setUp.x86_phys_bits,
    ...(eptMasks === undefined ? {} : { adBits: eptMasks[1] === true }),
  });
}

/** A VM with the recorded slot, and the recorded entries in its rmaps. */
class RecordedVm {
  readonly machine = ThreadMachine.create({ arenaBytes: 32 << 20, maxCpus: 1 });
  readonly cpu: Cpu = this.machine.attach();
  readonly memslots = createMemslots(this.cpu, this.machine, {
    maxGfn: (2 ** 34 - 1) as Gfn,
    tdpMmuEnabled: false,
  });
  readonly flushDomain = {
    address: this.machine.frames.allocateSpan(this.cpu, flushDomainBytes(1)),
    maxMembers: 1,
  };
  readonly host = new ByteHost(this.cpu, this.machine, 0);
  readonly mmu;
  private readonly sptes: Address;

  constructor(
    private readonly given: RecordedCase["in"],
    format: SpteFormat,
  ) {
    const { cpu, machine } = this;
    this.mmu = createShadowMmu(cpu, machine, this, { format });
    const baseGfn = Number(given.slot_base_gfn);
    kvmSetMemoryRegion(this.memslots, cpu, noSecondaryMmu, {
      slot: 0,
      flags: 0,
      guestPhysAddr: baseGfn * 4096,
      memorySize: given.slot_npages * 4096,
      userspaceAddr: (HOST_BASE + baseGfn * 4096) as Hva,
    });
    this.sptes = machine.frames.allocateSpan(cpu, Math.max(8, given.sptes.length * 8));
    cpu.writeLock(this.mmu.mmuLock);
    for (const [index, [level, gfn, value]] of given.sptes.entries()) {
      cpu.writeOnce(this.sptep(index), BigInt(value));
      const head = gfnToRmap(cpu, this.slot, Number(gfn) as Gfn, level);
      pteListAdd(this.mmu.rmaps, cpu, this.mmu.rmaps.descriptors, this.sptep(index), head);
    }
    cpu.writeUnlock(this.mmu.mmuLock);
  }

  get slot() {
    return this.memslots.gfnToMemslot(this.cpu, 0, Number(this.given.slot_base_gfn) as Gfn);
  }

  age(): boolean {
    const range = {
      slot: this.slot,
      start: Number(this.given.start) as Gfn,
      end: Number(this.given.end) as Gfn,
      mayBlock: true,
      lockless: true,
      attrFilter: KVM_FILTER_SHARED,
    };
    return kvmRmapAgeGfnRange(this.mmu, this.cpu, range, this.given.test_only);
  }

  after(): string[] {
    return this.given.sptes.map((_, index) => `0x${this.cpu.readOnce(this.sptep(index)).toString(16)}`);
  }

  /** Every list is well formed and unlocked. */
  listViolations(): string[] {
    return this.given.sptes.flatMap(([level, gfn]) => {
      const head = gfnToRmap(this.cpu, this.slot, Number(gfn) as Gfn, level);
      return [...checkRmapHead(this.cpu, head), ...((this.cpu.readOnce(head) & 2n) === 0n ? [] : ["locked"])];
    });
  }

  private sptep(index: number): Address {
    return offset(this.sptes, index * 8);
  }
}

// Without anybody else running the steps of 6.15 must come to the same.
const RULES: readonly (readonly [string, RuleSet])[] = [
  ["compare-exchange from the locked value", linux73],
  ["atomic AND from the head", { ...linux73, agingUpdate: "fetch-and", rmapWalkStart: "head" }],
];

describe("kvm_rmap_age_gfn_range as recorded from Linux 7.3.4", () => {
  it("all 426 cases are there, of five configurations whose masks are the recorded ones", () => {
    expect(recorded.source).toBe("Linux 7.3.4");
    expect(recorded.cases).toHaveLength(426);
    expect(Object.keys(recorded.configs)).toHaveLength(5);
    for (const [config, { out }] of Object.entries(recorded.configs)) {
      const format = formatOf(config, linux73);
      expect(format.shadowAccessedMask).toBe(BigInt(out.shadow_accessed_mask!));
      expect(format.shadowAccTrackMask).toBe(BigInt(out.shadow_acc_track_mask!));
      expect(format.kvmAdEnabled).toBe(out.kvm_ad_enabled);
    }
  });

  describe.each(RULES)("%s", (_name, rules) => {
    it.each(Object.keys(recorded.configs))("%s", (config) => {
      const format = formatOf(config, rules);
      const cases = recorded.cases.filter((recordedCase) => recordedCase.config === config);
      expect(cases.length).toBeGreaterThan(70);
      for (const { id, in: given, out } of cases) {
        const vm = new RecordedVm(given, format);
        const young = vm.age();
        expect({ id, young, after: vm.after(), warnings: 0 }).toEqual({ id, ...out });
        expect(vm.listViolations()).toEqual([]);
      }
    });
  });
});
