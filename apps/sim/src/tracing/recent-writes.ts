import type { Address, TraceEvent } from "@kvm-age/machine";

/** Writes that are remembered. An event follows its write by at most a mark in the dirty log and the like. */
const REMEMBERED = 4;

interface Write {
  address: number;
  /** What was replaced; null after a plain store, which does not tell. */
  old: bigint | null;
  value: bigint;
  ns: number;
  sequence: number;
}

/** A time at which something happened: see `RecordingClock`. */
export interface Moment {
  readonly ns: number;
  readonly sequence: number;
}

/** The last writes of one thread to 64-bit words, with their times. */
export class RecentWrites {
  private readonly writes: Write[] = Array.from({ length: REMEMBERED }, () => ({
    address: -1,
    old: null,
    value: -1n,
    ns: 0,
    sequence: 0,
  }));
  private next = 0;

  /** Keeps a write that was done at `moment`. */
  remember(address: Address, old: bigint | null, value: bigint, moment: Moment): void {
    const write = this.writes[this.next]!;
    write.address = address;
    write.old = old;
    write.value = value;
    write.ns = moment.ns;
    write.sequence = moment.sequence;
    this.next = (this.next + 1) % REMEMBERED;
  }

  /** When the write was done that `event` tells of; null if it tells of none, or of one long ago. */
  momentOf({ name, fields }: TraceEvent): Moment | null {
    switch (name) {
      case "kvm_tdp_mmu_spte_changed":
        return this.find((write) => replaced(write, fields.old_spte) && write.value === fields.new_spte);
      case "kvm_mmu_set_spte":
        return this.find((write) => write.address === fields.sptep && write.value === fields.spte);
      case "fast_page_fault":
        // What the event calls the new value was read back, and may be somebody else's by now.
        return fields.fixed === true ? this.find((write) => replaced(write, fields.old_spte)) : null;
      default:
        return null;
    }
  }

  /** The latest that fits. */
  private find(fits: (write: Write) => boolean): Moment | null {
    for (let back = 1; back <= REMEMBERED; back++) {
      const write = this.writes[(this.next + REMEMBERED - back) % REMEMBERED]!;
      if (write.address >= 0 && fits(write)) return write;
    }
    return null;
  }
}

function replaced({ old }: Write, value: unknown): boolean {
  return old === null || old === value;
}
