import { describe, expect, it } from "vitest";
import { PERMISSION_ANY_WRITE } from "../src/index.js";
import { Rig } from "./support/rig.js";

const HUGE_GFN = 0x40000;

describe("cachedTranslations", () => {
  it("names what a lookup would find: page, pfn, level, and writes only where a walk is not needed", () => {
    const rig = new Rig("ept");
    rig.map(5, 0x100005);
    rig.map(HUGE_GFN, 0x200000, 2);
    const vcpu = rig.vcpu();
    expect(vcpu.cachedTranslations(rig.cpu)).toEqual([]);
    vcpu.access(rig.cpu, 5 * 4096, "read");
    vcpu.access(rig.cpu, (HUGE_GFN + 3) * 4096, "write");
    vcpu.exitGuest(rig.cpu);
    const cached = vcpu.cachedTranslations(rig.cpu);
    const common = { vpid: 0, pcid: 0 };
    expect(cached.map(({ permissions: _, ...place }) => place)).toEqual([
      { ...common, level: 1, page: 5, pfn: 0x100005 },
      { ...common, level: 2, page: HUGE_GFN, pfn: 0x200000 },
    ]);
    const writable = cached.map(({ permissions }) => (permissions & PERMISSION_ANY_WRITE) !== 0);
    expect(writable).toEqual([false, true]);
  });

  it("keeps those of the other virtual processor, and forgets what was flushed", () => {
    const rig = new Rig("ept");
    rig.map(5, 0x100005);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, 5 * 4096, "read");
    vcpu.enterL2(rig.cpu);
    vcpu.access(rig.cpu, 5 * 4096, "read");
    vcpu.exitGuest(rig.cpu);
    expect(vcpu.cachedTranslations(rig.cpu).map(({ vpid }) => vpid)).toEqual([1, 0]);
    vcpu.flushTlb(rig.cpu);
    expect(vcpu.cachedTranslations(rig.cpu)).toEqual([]);
  });
});
