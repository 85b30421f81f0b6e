import type { AccessKind } from "@kvm-age/vcpu";
import { type AgevmNote, decimal, hexadecimal } from "../input/agevm-note.js";
import { GuestWindow } from "./guest-window.js";
import type { ReplayContext } from "./replay-context.js";

const KINDS: Readonly<Record<string, AccessKind>> = { guest_w: "write", guest_r: "read", guest_x: "fetch" };

/** What the VMM says of itself: what the guest is about to do, what the host does, what it found. */
export function replayNote(context: ReplayContext, pid: number, note: AgevmNote, line: number): void {
  const [action, phase] = note.what.split(" ");
  if (action !== undefined && action in KINDS) {
    if (phase === "begin") context.guest.begin(pid, guestWindow(context, note, KINDS[action]!));
    else context.guest.finish(pid);
    return;
  }
  NOTE_HANDLERS[action ?? ""]?.(context, note, line, phase);
}

function guestWindow(context: ReplayContext, note: AgevmNote, kind: AccessKind): GuestWindow {
  const first = context.start!.gfnBase + hexadecimal(note, "first");
  const stride = decimal(note, "stride");
  const gfns = Array.from({ length: decimal(note, "count") }, (_, index) => first + index * stride);
  return new GuestWindow(decimal(note, "vcpu"), kind, gfns);
}

type NoteHandler = (context: ReplayContext, note: AgevmNote, line: number, phase: string | undefined) => void;

const NOTE_HANDLERS: Readonly<Record<string, NoteHandler>> = {
  spte: (context, note, line) => context.dump.entry(note, line),
  dump: (context, note, line, phase) =>
    phase === "begin" ? context.dump.begin(note, line) : context.dump.end(note, line),
  dirty_bitmap: (context, note, line) => context.dirtyLog.word(note, line),
  getlog: (context, note, line) => context.dirtyLog.end(note, line),
  idle_set: (context) => context.idle.marked(),
  idle_get: (context, note, line) =>
    note.values.has("page") ? context.idle.read(note, line) : context.idle.passOver(),
  host_write: (context, note) => context.idle.hostUsed(pagesOf(context, note)),
  host_read: (context, note) => context.idle.hostUsed(pagesOf(context, note)),
  race: (context, _note, _line, phase) =>
    phase === "begin" ? context.guest.raceBegins() : context.guest.raceEnds(),
};

function pagesOf(context: ReplayContext, note: AgevmNote): readonly number[] {
  const first = context.start!.gfnBase + hexadecimal(note, "first");
  return Array.from({ length: decimal(note, "count") }, (_, index) => first + index);
}
