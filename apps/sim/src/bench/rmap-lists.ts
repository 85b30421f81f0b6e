import {
  type Address,
  type Cpu,
  FRAME_BYTES,
  ObjectCache,
  objectCacheBytes,
  offset,
  RWLOCK_BYTES,
  ThreadMachine,
} from "@kvm-age/machine";
import { MMU_LOCK_CLASS, RMAP_HEAD_BYTES } from "@kvm-age/memslot";
import {
  createKvmRmaps,
  type KvmRmapHead,
  type KvmRmaps,
  kvmRmapLock,
  kvmRmapLockReadonly,
  kvmRmapUnlock,
  kvmRmapUnlockReadonly,
  pteListAdd,
  pteListRemove,
} from "@kvm-age/rmap";
import { type BenchRow, nanoseconds, perSecond, ratio } from "./bench-row.js";
import { leastOf, timeNs } from "./timing.js";

const LISTS = 1 << 15;
/** Entries of a long list. */
export const LONG_LIST = 20;
const ROUNDS = 9;
const CACHE_OBJECTS = 40;
const WORDS_PER_FRAME = FRAME_BYTES / 8;

/** Does one pair of steps to one list. */
type Pair = (cpu: Cpu, head: KvmRmapHead, index: number) => void;

/** Lists of slots, all of one length, and words for the baseline. */
class RmapLists {
  readonly cpu: Cpu;
  readonly rmaps: KvmRmaps;
  private readonly machine: ThreadMachine;
  private readonly heads: Address;
  private readonly slots: Address;
  private readonly bareWords: Address;
  private readonly descriptors: ObjectCache;

  constructor(
    private readonly length: number,
    duplicateCheck: boolean,
  ) {
    this.machine = ThreadMachine.create({ arenaBytes: 32 << 20, maxCpus: 4 });
    this.cpu = this.machine.attach();
    const { cpu } = this;
    const span = (bytes: number): Address => this.machine.frames.allocateSpan(cpu, bytes);
    const mmuLock = { kind: "rwlock", address: span(RWLOCK_BYTES), lockClass: MMU_LOCK_CLASS } as const;
    this.rmaps = createKvmRmaps(cpu, this.machine, { mmuLock, duplicateCheck });
    this.heads = span(LISTS * RMAP_HEAD_BYTES);
    this.bareWords = span(LISTS * 8);
    this.slots = span(LISTS * length * 8);
    this.descriptors = new ObjectCache(
      span(objectCacheBytes(CACHE_OBJECTS)),
      CACHE_OBJECTS,
      this.rmaps.descriptors,
    );
    cpu.writeLock(mmuLock);
  }

  /** Adds the `count` first slots to every list. */
  fill(count: number): void {
    for (let index = 0; index < LISTS; index++) {
      for (let entry = 0; entry < count; entry++) this.add(this.cpu, this.head(index), index, entry);
    }
  }

  /** Adds slot number `entry` of list number `index`. */
  add(cpu: Cpu, head: KvmRmapHead, index: number, entry: number): void {
    this.descriptors.topUp(cpu, 1);
    pteListAdd(this.rmaps, cpu, this.descriptors, this.slot(index, entry), head);
  }

  /** Address of slot number `entry` of list number `index`: each entry has a table of its own for 512 lists in a row. */
  slot(index: number, entry: number): Address {
    const table = Math.floor(index / WORDS_PER_FRAME) * this.length + entry;
    return offset(this.slots, table * FRAME_BYTES + (index % WORDS_PER_FRAME) * 8);
  }

  /** Nanoseconds of a pair: the least of `ROUNDS` passes over all lists. */
  pairNs(pair: Pair): number {
    return this.leastNs(
      () => {},
      () => {
        for (let index = 0; index < LISTS; index++) pair(this.cpu, this.head(index), index);
      },
    );
  }

  /** Baseline: nanoseconds of one compare-exchange on each of as many words, in a native loop that does nothing else. */
  bareNs(): number {
    const { atomics64 } = this.machine.arena;
    return this.leastNs(
      () => this.cpu.memset64(this.bareWords, 1n, LISTS),
      () => atomics64.clearBitsWhereCmpxchg(this.bareWords, LISTS, 1n, 1n, 1n),
    );
  }

  private leastNs(prepare: () => void, pass: () => void): number {
    const rounds = Array.from({ length: ROUNDS }, () => {
      prepare();
      return timeNs(pass);
    });
    return leastOf(rounds) / LISTS;
  }

  private head(index: number): KvmRmapHead {
    return offset(this.heads, index * RMAP_HEAD_BYTES) as KvmRmapHead;
  }
}

function row(name: string, pair: number, bare: number): BenchRow {
  return {
    name,
    figure: `${perSecond(1, pair)} (${nanoseconds(pair)})`,
    baseline: `bare wasm cmpxchg ${nanoseconds(bare)}`,
    ratio: ratio(pair, bare),
    aim: "",
  };
}

/** Pairs of locking and unlocking lists of `length` entries, as a reader and as a writer, against a bare compare-exchange for each pair. */
export function lockRows(length: number): BenchRow[] {
  const lists = new RmapLists(length, false);
  lists.fill(length);
  const { rmaps } = lists;
  const reader = lists.pairNs((cpu, head) => {
    kvmRmapUnlockReadonly(rmaps, cpu, head, kvmRmapLockReadonly(rmaps, cpu, head));
  });
  const writer = lists.pairNs((cpu, head) => {
    kvmRmapUnlock(rmaps, cpu, head, kvmRmapLock(rmaps, cpu, head));
  });
  const bare = lists.bareNs();
  return [
    row(`rmap lock + unlock, reader, ${entries(length)}`, reader, bare),
    row(`rmap lock + unlock, writer, ${entries(length)}`, writer, bare),
  ];
}

/** Pairs of adding the last one of `length` entries and removing it, with the same baseline. */
export function addRemoveRow(length: number, duplicateCheck: boolean): BenchRow {
  const lists = new RmapLists(length, duplicateCheck);
  const last = length - 1;
  lists.fill(last);
  const pair = lists.pairNs((cpu, head, index) => {
    lists.add(cpu, head, index, last);
    pteListRemove(lists.rmaps, cpu, lists.slot(index, last), head);
  });
  const check = duplicateCheck ? ", duplicates looked for" : "";
  return row(`rmap add + remove, ${entries(length)}${check}`, pair, lists.bareNs());
}

function entries(length: number): string {
  return length === 1 ? "1 entry" : `${length} entries`;
}
