import type { Cpu } from "@kvm-age/machine";
import { type KvmGfnRange, type SecondaryMmu, type Slot, slotAsId, slotId } from "../../src/index.js";

/** An MMU that knows which gfns are mapped and young, and notes every call. */
export class FakeMmu implements SecondaryMmu {
  readonly calls: string[] = [];
  readonly ranges: KvmGfnRange[] = [];
  /** Young gfns as `asId:gfn`. */
  readonly young = new Set<string>();
  /** Called first by every handler and hook. */
  onCall: (name: string, cpu: Cpu) => void = () => {};
  unmapNeedsFlush = true;

  private note(cpu: Cpu, name: string, detail = ""): void {
    this.calls.push(detail === "" ? name : `${name} ${detail}`);
    this.onCall(name, cpu);
  }

  private noteSlot(cpu: Cpu, name: string, slot: Slot, detail = ""): void {
    this.note(cpu, name, `${slotAsId(cpu, slot)}:${slotId(cpu, slot)}${detail}`);
  }

  private noteRange(cpu: Cpu, name: string, range: KvmGfnRange): string[] {
    this.ranges.push(range);
    this.noteSlot(cpu, name, range.slot, ` [0x${range.start.toString(16)}, 0x${range.end.toString(16)})`);
    const gfns: string[] = [];
    for (let gfn: number = range.start; gfn < range.end; gfn++)
      gfns.push(`${slotAsId(cpu, range.slot)}:${gfn}`);
    return gfns;
  }

  ageGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.noteRange(cpu, "ageGfn", range).filter((gfn) => this.young.delete(gfn)).length > 0;
  }

  testAgeGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.noteRange(cpu, "testAgeGfn", range).some((gfn) => this.young.has(gfn));
  }

  unmapGfnRange(cpu: Cpu, range: KvmGfnRange): boolean {
    this.noteRange(cpu, "unmapGfnRange", range);
    return this.unmapNeedsFlush;
  }

  flushShadowAll(cpu: Cpu): void {
    this.note(cpu, "flushShadowAll");
  }

  flushShadowMemslot(cpu: Cpu, slot: Slot): void {
    this.noteSlot(cpu, "flushShadowMemslot", slot);
  }

  memslotsUpdated(cpu: Cpu, generation: bigint): void {
    this.note(cpu, "memslotsUpdated", String(generation));
  }

  changeMmuPages(cpu: Cpu, goal: number): void {
    this.note(cpu, "changeMmuPages", String(goal));
  }

  updateCpuDirtyLogging(cpu: Cpu, enabled: boolean): void {
    this.note(cpu, "updateCpuDirtyLogging", String(enabled));
  }

  enableDirtyLogging(cpu: Cpu, slot: Slot): void {
    this.noteSlot(cpu, "enableDirtyLogging", slot);
  }

  disableDirtyLogging(cpu: Cpu, slot: Slot): void {
    this.noteSlot(cpu, "disableDirtyLogging", slot);
  }

  enableLogDirtyPtMasked(cpu: Cpu, slot: Slot, gfnOffset: number, mask: bigint): void {
    this.noteSlot(cpu, "enableLogDirtyPtMasked", slot, ` ${gfnOffset} 0x${mask.toString(16)}`);
  }

  syncDirtyLog(cpu: Cpu, slot: Slot): void {
    this.noteSlot(cpu, "syncDirtyLog", slot);
  }

  flushRemoteTlbs(cpu: Cpu): void {
    this.note(cpu, "flushRemoteTlbs");
  }

  flushRemoteTlbsMemslot(cpu: Cpu, slot: Slot): void {
    this.noteSlot(cpu, "flushRemoteTlbsMemslot", slot);
  }
}
