import { describe, expect, test } from "vitest";
import {
  AgevmNoteError,
  decimal,
  hexadecimal,
  parseAgevmNote,
} from "../../src/conformance/input/agevm-note.js";
import { findAgevmStart } from "../../src/conformance/input/agevm-start.js";
import { linesOf, payloads } from "./kit/trace-lines.js";

describe("parseAgevmNote", () => {
  test("takes what is done, its values, and words behind them", () => {
    const note = parseAgevmNote("agevm: dirty_bitmap word=3 00ff ")!;
    expect(note.what).toBe("dirty_bitmap");
    expect([...note.values]).toEqual([["word", "3"]]);
    expect(note.rest).toEqual(["00ff"]);
  });

  test("actions have phases, and may have no values", () => {
    expect(parseAgevmNote("agevm: madvise dontneed end rc=0")!.what).toBe("madvise dontneed end");
    expect(parseAgevmNote("agevm: race begin")!).toEqual({ what: "race begin", values: new Map(), rest: [] });
  });

  test("is not for the notes of others", () => {
    expect(parseAgevmNote("scenario age4k: agevm: w")).toBeNull();
    expect(parseAgevmNote("agevm:x")).toBeNull();
  });
});

describe("values", () => {
  const note = parseAgevmNote("agevm: spte level=2 gfn=4000a val=8000000000000000 bad=0x1 n=-1")!;

  test("are decimal or hexadecimal as their names say", () => {
    expect(decimal(note, "level")).toBe(2);
    expect(decimal(note, "n")).toBe(-1);
    expect(hexadecimal(note, "gfn")).toBe(0x4000a);
  });

  test.each([
    ["gfn", () => decimal(note, "gfn"), 'note "spte": gfn is "4000a", expected a number in base 10'],
    ["val", () => hexadecimal(note, "val"), "val is"],
    ["bad", () => hexadecimal(note, "bad"), 'bad is "0x1", expected a number in base 16'],
    ["missing", () => decimal(note, "missing"), "missing is missing"],
  ])("that are none are errors: %s", (_name, read, message) => {
    expect(read).toThrow(AgevmNoteError);
    expect(read).toThrow(message);
  });
});

describe("findAgevmStart", () => {
  const START =
    "agevm: start pid=630 mode=thp npages=1024 nvcpu=1 g2m=1 presetAD=0 nonpaging=1 hva=7fadb0e00000 gfn_base=40000";

  test("reads the VMM's first words", () => {
    const { note } = payloads;
    expect(findAgevmStart(linesOf([1, note("scenario x")], [1, note(START)]))).toEqual({
      pages: 1024,
      gfnBase: 0x40000,
      hva: 0x7fadb0e00000,
      guestUses2m: true,
      presetAd: false,
      nonpaging: true,
    });
  });

  test("is null without them", () => {
    expect(findAgevmStart(linesOf([1, payloads.root()]))).toBeNull();
  });
});
