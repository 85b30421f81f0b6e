import { kvmWriteTrackAddGfn, mmuFirstShadowRootAlloc } from "@kvm-age/memslot";
import { type Gfn, PFERR_PRESENT_MASK, PFERR_WRITE_MASK } from "@kvm-age/spte";
import { beforeEach, expect, it } from "vitest";
import { PFERR_RSVD_MASK, pageFaultHandlePageTrack } from "../src/index.js";
import { Rig, SLOT_GFN } from "./kit/rig.js";

const TRACKED = 3;
const PRESENT_WRITE = PFERR_PRESENT_MASK | PFERR_WRITE_MASK;

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
  const { cpu, memslots } = rig;
  mmuFirstShadowRootAlloc(memslots, cpu);
  cpu.writeLock(memslots.locks.mmuLock);
  kvmWriteTrackAddGfn(memslots, cpu, rig.slot, (SLOT_GFN + TRACKED) as Gfn);
  cpu.writeUnlock(memslots.locks.mmuLock);
});

it("a write to a present, write-tracked page must be emulated", () => {
  expect(pageFaultHandlePageTrack(rig, rig.cpu, rig.fault(TRACKED, PRESENT_WRITE))).toBe(true);
});

it.each([
  ["a neighbour", TRACKED + 1, PRESENT_WRITE],
  ["a read", TRACKED, PFERR_PRESENT_MASK],
  ["a page that is not present: mapping it finds out", TRACKED, PFERR_WRITE_MASK],
  ["a reserved bit", TRACKED, PRESENT_WRITE | PFERR_RSVD_MASK],
  ["a page outside every slot", 0x10000, PRESENT_WRITE],
])("not so %s", (_name, page, code) => {
  expect(pageFaultHandlePageTrack(rig, rig.cpu, rig.fault(page, code))).toBe(false);
});
