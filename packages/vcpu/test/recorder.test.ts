import { toGfn } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import {
  attachGuestAccessEpochs,
  attachGuestWriteBitmap,
  createGuestAccessEpochs,
  createGuestWriteBitmap,
  RecorderRangeError,
} from "../src/index.js";
import { gpaOf, LEAF_BITS, Rig } from "./support/rig.js";

const START = toGfn(1000);

describe("GuestWriteBitmap", () => {
  it("has every write, TLB hits included, and no read, failure or foreign page", () => {
    const rig = new Rig("ept");
    for (let gfn = 990; gfn < 1100; gfn++) rig.map(gfn, 0x100000 + gfn);
    rig.map(1005, 0x101005, 1, LEAF_BITS.ept & ~2n);
    const writes = createGuestWriteBitmap(rig.cpu, rig.machine, { startGfn: START, pages: 70 });
    const vcpu = rig.vcpu({}, { writeRecorder: writes });
    for (const gfn of [999, 1000, 1031, 1032, 1069, 1070, 1005]) vcpu.access(rig.cpu, gpaOf(gfn), "write");
    vcpu.access(rig.cpu, gpaOf(1001), "read");
    const taken: number[] = [];
    expect(writes.wasWritten(rig.cpu, toGfn(1031))).toBe(true);
    expect(writes.wasWritten(rig.cpu, toGfn(1070))).toBe(false);
    expect(writes.takeWrites(rig.cpu, (gfn) => taken.push(gfn))).toBe(4);
    expect(taken).toEqual([1000, 1031, 1032, 1069]);
    expect(writes.takeWrites(rig.cpu, () => {})).toBe(0);
    const before = vcpu.statistics(rig.cpu).hits;
    vcpu.access(rig.cpu, gpaOf(1031), "write");
    expect(vcpu.statistics(rig.cpu).hits).toBe(before + 1);
    const elsewhere = attachGuestWriteBitmap(rig.machine, structuredClone(writes.handle));
    expect(elsewhere.takeWrites(rig.cpu, (gfn) => expect(gfn).toBe(1031))).toBe(1);
  });
});

describe("GuestAccessEpochs", () => {
  it("has the epoch of the last access, TLB hits included", () => {
    const rig = new Rig("npt");
    for (let gfn = 1000; gfn < 1004; gfn++) rig.map(gfn, 0x100000 + gfn);
    const epochs = createGuestAccessEpochs(rig.cpu, rig.machine, { startGfn: START, pages: 3 });
    const vcpu = rig.vcpu({}, { accessRecorder: epochs });
    expect(epochs.epoch(rig.cpu)).toBe(1);
    for (const gfn of [1000, 1001, 1003]) vcpu.access(rig.cpu, gpaOf(gfn), "read");
    expect(epochs.advanceEpoch(rig.cpu)).toBe(2);
    vcpu.access(rig.cpu, gpaOf(1001), "fetch");
    vcpu.access(rig.cpu, gpaOf(5000), "read");
    const elsewhere = attachGuestAccessEpochs(rig.machine, structuredClone(epochs.handle));
    const last = [999, 1000, 1001, 1002, 1003].map((gfn) => elsewhere.lastAccess(rig.cpu, toGfn(gfn)));
    expect(last).toEqual([0, 1, 2, 0, 0]);
  });
});

it.each([0, 2 ** 31, 1.5, 2 ** 30])("refuses %d pages near the end", (pages) => {
  const rig = new Rig("ept");
  const init = { startGfn: toGfn(2 ** 40 - 5), pages };
  expect(() => createGuestWriteBitmap(rig.cpu, rig.machine, init)).toThrow(RecorderRangeError);
  expect(() => createGuestAccessEpochs(rig.cpu, rig.machine, init)).toThrow(RecorderRangeError);
});

it("gives its memory back", () => {
  const rig = new Rig("ept");
  const before = rig.machine.frames.allocatedFrames(rig.cpu);
  const init = { startGfn: START, pages: 40_000 };
  createGuestWriteBitmap(rig.cpu, rig.machine, init).destroy(rig.cpu);
  createGuestAccessEpochs(rig.cpu, rig.machine, init).destroy(rig.cpu);
  expect(rig.machine.frames.allocatedFrames(rig.cpu)).toBe(before);
});
