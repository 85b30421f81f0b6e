import type { Cpu, TraceEvent } from "@kvm-age/machine";
import type { TestSlot } from "../vm/test-slots.js";

const NOTE = "tracing_mark_write";

/** A line of our own in the trace, as a write to `trace_marker` makes it. */
export function note(text: string): TraceEvent {
  return { name: NOTE, fields: { text: `kvm-age: ${text}` } };
}

export function isNote(event: Pick<TraceEvent, "name">): boolean {
  return event.name === NOTE;
}

/** Says where a slot lies in both address spaces: the one way from a gfn to a host-virtual address that a trace offers. */
export function noteSlot(cpu: Cpu, { slot, gpa, hva, pages }: TestSlot): void {
  if (!cpu.tracing) return;
  const gfn = (gpa / 4096).toString(16);
  cpu.trace(note(`slot id=${slot} gfn=${gfn} hva=${hva.toString(16)} pages=${pages}`));
}

/** Says that a slot is gone. */
export function noteSlotDeleted(cpu: Cpu, slot: number): void {
  if (cpu.tracing) cpu.trace(note(`slot_delete id=${slot}`));
}
