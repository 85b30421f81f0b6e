import { createSpteFormat, explainSpte, type PgLevel, toSpte } from "@kvm-age/spte";
import { describe, expect, test, vi } from "vitest";
import { LineQueue } from "../../src/trace-reports/line-queue.js";
import { LostLines } from "../../src/trace-reports/lost-lines.js";
import { valueWords } from "../../src/trace-reports/value-words.js";

/** The lines `from` to `to` - 1, line 7 as `line 7`. */
function lines(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => `line ${from + index}`);
}

describe("LineQueue", () => {
  test.each([1, 7, 4096, 5000])("gives lines in order over the borders of blocks, %i at a time", (step) => {
    const queue = new LineQueue();
    queue.push(Buffer.from(`${lines(1, 10_001).join("\n")}\n`));
    const got: string[] = [];
    for (let last = step; last <= 10_000; last += step) {
      got.push(...queue.takeThrough(last), ...queue.takeThrough(last));
    }
    queue.push(Buffer.from(lines(10_001, 10_011).join("\n")));
    got.push(...queue.takeThrough(10_005), ...queue.takeAll());
    expect(got).toEqual(lines(1, 10_011));
    expect(queue.takeAll()).toEqual([]);
  });

  test("does not move the lines that wait for each one taken", () => {
    const splice = vi.spyOn(Array.prototype, "splice");
    const queue = new LineQueue();
    queue.push(Buffer.from(`${lines(1, 101).join("\n")}\n`));
    for (let last = 1; last <= 100; last++) queue.takeThrough(last);
    const calls = splice.mock.calls.length;
    splice.mockRestore();
    expect(calls).toBe(0);
  });

  test("keeps a long line whole, whatever pieces it comes in, without joining them at each", () => {
    const text = `${"ä€😀".repeat(20_000)}\nnext`;
    const bytes = Buffer.from(text);
    const concat = vi.spyOn(Buffer, "concat");
    const queue = new LineQueue();
    const chunk = Buffer.alloc(1000);
    for (let start = 0; start < bytes.length; start += chunk.length) {
      const size = bytes.copy(chunk, 0, start);
      queue.push(chunk.subarray(0, size));
    }
    const calls = concat.mock.calls.length;
    concat.mockRestore();
    expect(calls).toBe(1);
    expect(queue.takeAll().join("\n") === text).toBe(true);
  });
});

test("a line too long for a marker of lost events is none, in one piece or in many", () => {
  const text = `CPU:0 [LOST ${"x".repeat(70_000)}]\nCPU:0 [LOST 3 EVENTS]\n`;
  for (const size of [1000, 100_000]) {
    const lost = new LostLines();
    for (let start = 0; start < text.length; start += size) {
      lost.push(Buffer.from(text.slice(start, start + size)));
    }
    expect([lost.takeThrough(1), lost.takeThrough(2)]).toEqual([0, 1]);
  }
});

test("words of values stay right when more values come than are kept", () => {
  const formats = [createSpteFormat({ mode: "ept", adBits: false }), createSpteFormat({ mode: "npt" })];
  const wrong: string[] = [];
  for (const count of [1100n, 10n]) {
    for (let pfn = 1n; pfn <= count; pfn++) {
      for (const format of formats) {
        for (const level of [1, 2, null, 9]) {
          const spte = toSpte((pfn << 12n) | 0xff7n);
          const known = level === 1 || level === 2 ? (level as PgLevel) : undefined;
          const { kind, states } = explainSpte(format, spte, known);
          const words = [kind, `pfn 0x${pfn.toString(16)}`, ...states].join(", ");
          if (valueWords(format, spte, level) !== words) wrong.push(`${format.mode} ${level} ${spte}`);
        }
      }
    }
  }
  expect(wrong).toEqual([]);
});
