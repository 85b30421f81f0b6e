import { offset } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import type { TlbGeometry } from "../src/index.js";
import { Tlb, type Translation, tlbBytes } from "../src/tlb/tlb.js";
import { Rig } from "./support/rig.js";

const tiny: TlbGeometry = {
  small: { entries: 64, ways: 4 },
  large: { entries: 4, ways: 2 },
  huge: { entries: 1, ways: 1 },
};
const small: Translation = { level: 1, permissions: 1, fragment: false };
const NEXT_GENERATION = 8;
const LAST_GENERATION = 0x7f_ffff;

function newTlb() {
  const rig = new Rig("ept");
  const address = rig.machine.frames.allocateSpan(rig.cpu, tlbBytes(tiny));
  const tlb = new Tlb(address, tiny);
  tlb.reset(rig.cpu);
  const { cpu } = rig;
  const contexts = tlb.contexts;
  return {
    address,
    cpu,
    contexts,
    fill: (page: number): void => tlb.fill(cpu, page, 0x100000 + page, small),
    has: (page: number): boolean => tlb.lookup(cpu, page, 1) >= 0,
  };
}

describe("contexts", () => {
  it("keep their translations apart, and while others run", () => {
    const { cpu, contexts, fill, has } = newTlb();
    fill(5);
    contexts.switchTo(cpu, 0, 7);
    expect(has(5)).toBe(false);
    fill(6);
    contexts.switchTo(cpu, 1, 7);
    expect([has(5), has(6)]).toEqual([false, false]);
    contexts.switchTo(cpu, 0, 0);
    expect([has(5), has(6)]).toEqual([true, false]);
    contexts.switchTo(cpu, 0, 7);
    expect([has(5), has(6)]).toEqual([false, true]);
  });

  it("are dropped one by one, by virtual processor, or all", () => {
    const { cpu, contexts, fill, has } = newTlb();
    const all = [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const;
    const fillAll = (): void => {
      for (const [vpid, pcid] of all) {
        contexts.switchTo(cpu, vpid, pcid);
        fill(5);
      }
    };
    const kept = (): boolean[] =>
      all.map(([vpid, pcid]) => {
        contexts.switchTo(cpu, vpid, pcid);
        return has(5);
      });
    fillAll();
    contexts.dropCurrent(cpu);
    expect(kept()).toEqual([true, true, true, false]);
    fillAll();
    contexts.dropVpid(cpu, 0);
    expect(kept()).toEqual([false, false, true, true]);
    fillAll();
    contexts.dropVpid(cpu, 1);
    expect(kept()).toEqual([true, true, false, false]);
    fillAll();
    contexts.dropAll(cpu);
    expect(kept()).toEqual([false, false, false, false]);
  });

  it("that are too many lose their translations in turn, and never get another's", () => {
    const { cpu, contexts, fill, has } = newTlb();
    for (let pcid = 0; pcid < 16; pcid++) {
      contexts.switchTo(cpu, 0, pcid);
      fill(pcid);
    }
    contexts.switchTo(cpu, 0, 16);
    expect(Array.from({ length: 17 }, (_, page) => has(page))).not.toContain(true);
    fill(16);
    // The first was replaced; coming back it takes the second's place.
    contexts.switchTo(cpu, 0, 0);
    expect(has(0)).toBe(false);
    contexts.switchTo(cpu, 0, 16);
    expect(has(16)).toBe(true);
    contexts.switchTo(cpu, 0, 2);
    expect(has(2)).toBe(true);
    contexts.switchTo(cpu, 0, 1);
    expect(has(1)).toBe(false);
  });

  it.each(["dropCurrent", "dropAll", "dropVpid", "switchTo"] as const)(
    "never see a generation again when %s uses up the last one",
    (last) => {
      const { address, cpu, contexts, fill, has } = newTlb();
      fill(5);
      contexts.switchTo(cpu, 0, 1);
      fill(6);
      cpu.writeOnce32(offset(address, NEXT_GENERATION), LAST_GENERATION);
      contexts.dropCurrent(cpu);
      fill(7);
      if (last === "dropVpid") contexts.dropVpid(cpu, 0);
      else if (last === "switchTo") contexts.switchTo(cpu, 0, 2);
      else contexts[last](cpu);
      // From the beginning: one generation after the other, each of them given away before.
      fill(8);
      const filled = last === "switchTo" ? 2 : 1;
      for (const pcid of [0, 1, 2, 3]) {
        contexts.switchTo(cpu, 0, pcid);
        const found = [5, 6, 7, 8].map(has);
        expect(found, `PCID ${pcid}`).toEqual([false, false, false, pcid === filled]);
      }
      expect(cpu.readOnce32(offset(address, NEXT_GENERATION))).toBeLessThan(10);
    },
  );

  it("tell page numbers of 41 bits apart", () => {
    const { fill, has } = newTlb();
    fill(5);
    fill(2 ** 40 + 5);
    expect([5, 2 ** 40 + 5, 2 ** 32 + 5, 2 ** 39 + 5].map(has)).toEqual([true, true, false, false]);
  });
});
