import { createSpteFormat, type Spte, type SpteFormat } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { SpteStates, spteChangeKind } from "../../src/index.js";
import { changed, fastFixed, line, recordsOf } from "../support/trace-lines.js";

const npt = createSpteFormat({ mode: "npt" });
const noAd = createSpteFormat({ mode: "ept", adBits: false });
const EMPTY = "8000000000000000";

function after(format: SpteFormat, tdpMmu: boolean, ...lines: readonly string[]): SpteStates {
  const states = new SpteStates(format, tdpMmu);
  for (const record of recordsOf(...lines)) states.apply(record);
  return states;
}

describe("SpteStates", () => {
  it("follows changes until an entry goes away", () => {
    const mapped = [changed(5, 1, EMPTY, "12345e67"), changed(5, 1, "12345e67", "12345e47")];
    expect(after(npt, true, ...mapped).value(0, 5, 1)).toBe(0x12345e47n);
    expect(after(npt, true, ...mapped).countLeaves(1)).toBe(1);
    const frozen = changed(5, 1, "12345e47", "80000000000001a0");
    expect(after(npt, true, ...mapped, frozen).value(0, 5, 1)).toBeNull();
    expect(after(npt, true, ...mapped, frozen).countLeaves(1)).toBe(0);
  });

  it("derives what a split makes, which has no events of its own", () => {
    const split = [changed(0x200, 2, EMPTY, "40000ee7"), changed(0x200, 2, "40000ee7", "123456827")];
    const states = after(npt, true, ...split);
    expect(states.value(0, 0x203, 1)).toBe(0x40003e67n);
    expect(states.countLeaves(1)).toBe(512);
    expect(states.countLeaves(2)).toBe(0);
    expect(states.leavesOf(0x203)).toEqual([{ asId: 0, gfn: 0x203, level: 1, spte: 0x40003e67n }]);
    const zapped = after(npt, true, ...split, changed(0x203, 1, "40003e67", EMPTY));
    expect(zapped.value(0, 0x203, 1)).toBeNull();
    expect(zapped.countLeaves(1)).toBe(511);
    const unlinked = after(npt, true, ...split, changed(0x200, 2, "123456827", EMPTY));
    expect(unlinked.value(0, 0x203, 1)).toBeNull();
  });

  it("follows fast page faults by their address", () => {
    const map = changed(0x200, 2, EMPTY, "90a0000040000ff7");
    const aged = changed(0x200, 2, "90a0000040000ff7", "d0f0000040000af0");
    const states = after(noAd, true, map, aged, fastFixed(0x203000, "d0f0000040000af0", "90a0000040000ff5"));
    expect(states.value(0, 0x200, 2)).toBe(0x90a0000040000ff5n);
  });

  it("takes entries of the shadow MMU from where they are set", () => {
    const set = line("kvm_mmu_set_spte: gfn 5 spte 12345e67 (rwxu) level 1 at 109dcc028");
    expect(after(npt, false, set).value(0, 5, 1)).toBe(0x12345e67n);
    expect(after(npt, true, set).value(0, 5, 1)).toBeNull();
  });
});

describe("spteChangeKind", () => {
  it.each([
    [1, 0x8000000000000000n, 0x12345e67n, "map"],
    [2, 0x8000000000000000n, 0x123456827n, "link"],
    [1, 0x12345e67n, 0x12345e47n, "age"],
    [1, 0x12345e67n, 0x12345e65n, "writeProtect"],
    [1, 0x12345e67n, 0x12345e27n, "clearDirty"],
    [1, 0x12345e65n, 0x12345e67n, "allow"],
    [1, 0x12345e67n, 0x12346e67n, "remap"],
    [1, 0x12345e67n, 0x8000000000000000n, "zap"],
    [1, 0x12345e67n, 0x80000000000001a0n, "zap"],
    [2, 0x123456827n, 0x8000000000000000n, "unlink"],
    [1, 0x8000000000000000n, 0x80000000000001a0n, "freeze"],
    [1, 0x80000000000001a0n, 0x8000000000000000n, "release"],
    [2, 0x40000ee7n, 0x123456827n, "split"],
    [2, 0x123456827n, 0x40000ee7n, "collapse"],
    [2, 0x123456827n, 0x123457827n, "relink"],
    [1, 0x12345e67n, 0x12345e67n, "unchanged"],
  ] as const)("level %i: %s -> %s is %s", (level, before, now, kind) => {
    expect(spteChangeKind(npt, before as Spte, now as Spte, level)).toBe(kind);
  });

  it("knows MMIO SPTEs", () => {
    const format = createSpteFormat({ mode: "npt", maxPhyAddr: 46 });
    const mmio = 0x24680000fee0022fn as Spte;
    expect(spteChangeKind(format, 0x8000000000000000n as Spte, mmio, 1)).toBe("mmio");
    expect(spteChangeKind(format, mmio, 0x8000000000000000n as Spte, 1)).toBe("release");
  });

  it("knows access tracking", () => {
    expect(spteChangeKind(noAd, 0x90a0000012345f77n as Spte, 0xd0f0000012345a70n as Spte, 1)).toBe("age");
    expect(spteChangeKind(noAd, 0xd0f0000012345a70n as Spte, 0x90a0000012345f75n as Spte, 1)).toBe("allow");
  });
});
