import { FREE_SPANS_WORD, FRONTIER_WORD, SPAN_LOCK_WORD } from "../arena/layout.js";
import type { Cpu } from "../cpu/cpu.js";
import type { LockClass, SpinLock } from "../locks/lock.js";
import { FrameState, type FrameTable } from "./frame-table.js";

/** Lock class of the free-span list. */
export const SPAN_LOCK_CLASS: LockClass = { name: "arena span lock", sleeps: false };

const spanLock: SpinLock = { kind: "spinlock", address: SPAN_LOCK_WORD, lockClass: SPAN_LOCK_CLASS };

// Free spans form a list in order of address; neighbours are merged. Everything below runs under `spanLock`,
// so the accesses need no order of their own.

function freeSpanLength(cpu: Cpu, table: FrameTable, head: number): number {
  const bodyState = head + 1 < table.frameCount ? cpu.readOnce32(table.stateWord(head + 1)) : 0;
  return bodyState === FrameState.freeSpanBody ? cpu.readOnce32(table.privateWord(head + 1)) : 1;
}

function writeFreeSpan(cpu: Cpu, table: FrameTable, head: number, frames: number, next: number): void {
  cpu.writeOnce32(table.stateWord(head), FrameState.freeSpanHead);
  cpu.writeOnce32(table.privateWord(head), next);
  for (let frame = head + 1; frame < head + frames; frame++) {
    cpu.writeOnce32(table.stateWord(frame), FrameState.freeSpanBody);
  }
  if (frames > 1) cpu.writeOnce32(table.privateWord(head + 1), frames);
}

function writeUsedSpan(cpu: Cpu, table: FrameTable, head: number, frames: number): void {
  cpu.writeOnce32(table.stateWord(head), FrameState.spanHead);
  cpu.writeOnce32(table.privateWord(head), frames);
  for (let frame = head + 1; frame < head + frames; frame++) {
    cpu.writeOnce32(table.stateWord(frame), FrameState.spanBody);
  }
}

function writeLink(cpu: Cpu, table: FrameTable, previous: number, next: number): void {
  cpu.writeOnce32(previous === 0 ? FREE_SPANS_WORD : table.privateWord(previous), next);
}

/** First fit in the free spans; the remainder stays free. 0 if nothing fits. */
function takeFromFreeSpans(cpu: Cpu, table: FrameTable, frames: number): number {
  let previous = 0;
  let head = cpu.readOnce32(FREE_SPANS_WORD);
  while (head !== 0) {
    const length = freeSpanLength(cpu, table, head);
    const next = cpu.readOnce32(table.privateWord(head));
    if (length >= frames) {
      const rest = length - frames;
      if (rest > 0) writeFreeSpan(cpu, table, head + frames, rest, next);
      writeLink(cpu, table, previous, rest > 0 ? head + frames : next);
      return head;
    }
    previous = head;
    head = next;
  }
  return 0;
}

/** `frames` never-used frames in a row, or 0. */
function takeFromFrontier(cpu: Cpu, table: FrameTable, frames: number): number {
  for (;;) {
    const frontier = cpu.loadAcquire32(FRONTIER_WORD);
    if (frontier + frames > table.frameCount) return 0;
    if (cpu.cmpxchg32(FRONTIER_WORD, frontier, frontier + frames, "relaxed") === frontier) return frontier;
  }
}

/** Allocates a run of frames and marks it as a span in use. Returns its first frame, or 0 if none is left. */
export function allocateSpanFrames(cpu: Cpu, table: FrameTable, frames: number): number {
  cpu.spinLock(spanLock);
  const head = takeFromFreeSpans(cpu, table, frames) || takeFromFrontier(cpu, table, frames);
  if (head !== 0) writeUsedSpan(cpu, table, head, frames);
  cpu.spinUnlock(spanLock);
  return head;
}

/** Takes one frame out of the free spans for use as a single frame, or returns 0. */
export function carveFrame(cpu: Cpu, table: FrameTable): number {
  cpu.spinLock(spanLock);
  const head = takeFromFreeSpans(cpu, table, 1);
  if (head !== 0) cpu.writeOnce32(table.stateWord(head), FrameState.free);
  cpu.spinUnlock(spanLock);
  return head;
}

/** Puts the span at `head` (already marked free by the caller) back; returns its length in frames. */
export function freeSpanFrames(cpu: Cpu, table: FrameTable, head: number): number {
  const frames = cpu.readOnce32(table.privateWord(head));
  cpu.spinLock(spanLock);
  let previous = 0;
  let next = cpu.readOnce32(FREE_SPANS_WORD);
  while (next !== 0 && next < head) {
    previous = next;
    next = cpu.readOnce32(table.privateWord(next));
  }
  let start = head;
  let length = frames;
  let link = next;
  if (next !== 0 && head + frames === next) {
    length += freeSpanLength(cpu, table, next);
    link = cpu.readOnce32(table.privateWord(next));
  }
  const previousLength = previous === 0 ? 0 : freeSpanLength(cpu, table, previous);
  if (previous !== 0 && previous + previousLength === head) {
    start = previous;
    length += previousLength;
  } else {
    writeLink(cpu, table, previous, head);
  }
  writeFreeSpan(cpu, table, start, length, link);
  cpu.spinUnlock(spanLock);
  return frames;
}
