import { type Address, type Cpu, offset } from "@kvm-age/machine";

// The context block, u32 words:
//   0  control of the current context, see below
//   4  slot of the current context
//   8  next generation to give away
//  12  floor: contexts with an earlier generation are dropped
//  16  slot that is replaced next
//  24  slots of two words each: tag, control. The control of the current context is stale here.
// A control word has the generation of the context's entries in 22:0, and in 26:24 which page sizes may be cached under it (bit
// 24: 4 KiB, 25: 2 MiB, 26: 1 GiB), so that a lookup skips arrays that hold nothing. Bit 27: some entry is a fragment.
const CURRENT_SLOT = 4;
const NEXT_GENERATION = 8;
const FLOOR = 12;
const REPLACED_NEXT = 16;
const SLOTS = 24;
const SLOT_BYTES = 8;
const SLOT_CONTROL = 4;

/** Contexts that keep their entries: as many as the PCIDs that a current kernel uses, for two virtual processors. */
const SLOT_COUNT = 16;

/** Bytes of a context block. */
export const CONTEXTS_BYTES: number = SLOTS + SLOT_COUNT * SLOT_BYTES;

/** Bits of a control word that are the generation; no generation is 0. */
export const GENERATION_MASK = 0x7f_ffff;
/** Bits 26:24 of a control word, from here on. */
export const SIZES_SHIFT = 24;
/** A page is cached in parts, because the page tables of the other dimension map it with smaller ones. */
export const FRAGMENTED: number = 1 << 27;

const FIRST_GENERATION = 1;
const NO_TAG = 0;
const PCIDS = 4096;

/** Tag of a virtual processor (VPID: 0 the guest, 1 its nested guest) and a PCID; never `NO_TAG`. */
function tagOf(vpid: number, pcid: number): number {
  return 1 + vpid * PCIDS + pcid;
}

/** A context whose entries a lookup may find, now or when it becomes current again. */
export interface ValidContext {
  /** 0 the guest, 1 its nested guest. */
  readonly vpid: number;
  readonly pcid: number;
  readonly generation: number;
}

/**
 * Which translations of a TLB are valid: those that carry the current context's generation. A context is a virtual processor
 * and a PCID. Each has a generation of its own, so a context that comes back finds its entries again, and dropping one is one
 * store. Generations are given away once; when all are, everything is dropped and they begin anew. The words belong
 * to one vCPU's thread, so plain accesses do.
 */
export class TlbContexts {
  /**
   * @param address of `CONTEXTS_BYTES` made ready by `reset`
   * @param clearEntries empties every entry of whatever generation
   */
  constructor(
    private readonly address: Address,
    private readonly clearEntries: (cpu: Cpu) => void,
  ) {}

  /** No context but that of VPID 0 and PCID 0, which is current and empty, in whatever memory. */
  reset(cpu: Cpu): void {
    cpu.memset64(this.address, 0n, CONTEXTS_BYTES / 8);
    this.clearEntries(cpu);
    cpu.writeOnce32(this.slotOf(0), tagOf(0, 0));
    this.beginGenerations(cpu);
    this.setControl(cpu, FIRST_GENERATION);
  }

  /** Control word of the current context. */
  control(cpu: Cpu): number {
    return cpu.readOnce32(this.address);
  }

  setControl(cpu: Cpu, control: number): void {
    cpu.writeOnce32(this.address, control);
  }

  /** Makes a context current, with the entries it had if it is still known. */
  switchTo(cpu: Cpu, vpid: number, pcid: number): void {
    const tag = tagOf(vpid, pcid);
    const current = this.slotOf(cpu.readOnce32(offset(this.address, CURRENT_SLOT)));
    if (cpu.readOnce32(current) === tag) return;
    cpu.writeOnce32(offset(current, SLOT_CONTROL), this.control(cpu));
    const known = this.findSlot(cpu, tag);
    const slot = known < 0 ? this.takeSlot(cpu, tag) : known;
    cpu.writeOnce32(offset(this.address, CURRENT_SLOT), slot);
    const control = known < 0 ? 0 : cpu.readOnce32(offset(this.slotOf(slot), SLOT_CONTROL));
    const kept = (control & GENERATION_MASK) >= cpu.readOnce32(offset(this.address, FLOOR));
    this.setControl(cpu, kept ? control : this.takeGeneration(cpu));
  }

  /** Drops the current context's entries. */
  dropCurrent(cpu: Cpu): void {
    this.setControl(cpu, this.takeGeneration(cpu));
  }

  /** Drops the entries of all PCIDs of one virtual processor. */
  dropVpid(cpu: Cpu, vpid: number): void {
    const current = cpu.readOnce32(offset(this.address, CURRENT_SLOT));
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      const tag = cpu.readOnce32(this.slotOf(slot));
      if (tag < tagOf(vpid, 0) || tag >= tagOf(vpid + 1, 0)) continue;
      if (slot === current) this.dropCurrent(cpu);
      else cpu.writeOnce32(this.slotOf(slot), NO_TAG);
    }
  }

  /** Drops the entries of all contexts. */
  dropAll(cpu: Cpu): void {
    const generation = this.takeGeneration(cpu);
    cpu.writeOnce32(offset(this.address, FLOOR), generation);
    this.setControl(cpu, generation);
  }

  /** The contexts whose entries are valid, the current one first. */
  valid(cpu: Cpu): ValidContext[] {
    const current = cpu.readOnce32(offset(this.address, CURRENT_SLOT));
    const floor = cpu.readOnce32(offset(this.address, FLOOR));
    const contexts: ValidContext[] = [];
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      const tag = cpu.readOnce32(this.slotOf(slot));
      if (tag === NO_TAG) continue;
      const isCurrent = slot === current;
      const control = isCurrent ? this.control(cpu) : cpu.readOnce32(offset(this.slotOf(slot), SLOT_CONTROL));
      const generation = control & GENERATION_MASK;
      if (generation < floor) continue;
      const context = { vpid: Math.floor((tag - 1) / PCIDS), pcid: (tag - 1) % PCIDS, generation };
      if (isCurrent) contexts.unshift(context);
      else contexts.push(context);
    }
    return contexts;
  }

  private takeGeneration(cpu: Cpu): number {
    const word = offset(this.address, NEXT_GENERATION);
    const generation = cpu.readOnce32(word);
    if (generation <= GENERATION_MASK) {
      cpu.writeOnce32(word, generation + 1);
      return generation;
    }
    // Before a generation comes back, the entries and the contexts that still carry it must go.
    this.clearEntries(cpu);
    const current = cpu.readOnce32(offset(this.address, CURRENT_SLOT));
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      if (slot !== current) cpu.writeOnce32(this.slotOf(slot), NO_TAG);
    }
    this.beginGenerations(cpu);
    return FIRST_GENERATION;
  }

  /** The first generation is given away by this. */
  private beginGenerations(cpu: Cpu): void {
    cpu.writeOnce32(offset(this.address, NEXT_GENERATION), FIRST_GENERATION + 1);
    cpu.writeOnce32(offset(this.address, FLOOR), FIRST_GENERATION);
  }

  private findSlot(cpu: Cpu, tag: number): number {
    for (let slot = 0; slot < SLOT_COUNT; slot++) {
      if (cpu.readOnce32(this.slotOf(slot)) === tag) return slot;
    }
    return -1;
  }

  /** Gives a tag a free slot, or the one whose turn it is, over whatever context had it. */
  private takeSlot(cpu: Cpu, tag: number): number {
    const free = this.findSlot(cpu, NO_TAG);
    const slot = free >= 0 ? free : cpu.readOnce32(offset(this.address, REPLACED_NEXT));
    if (free < 0) cpu.writeOnce32(offset(this.address, REPLACED_NEXT), (slot + 1) % SLOT_COUNT);
    cpu.writeOnce32(this.slotOf(slot), tag);
    return slot;
  }

  private slotOf(slot: number): Address {
    return offset(this.address, SLOTS + slot * SLOT_BYTES);
  }
}
