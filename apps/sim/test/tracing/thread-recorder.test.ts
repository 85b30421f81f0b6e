import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Address,
  type Cpu,
  offset,
  RWLOCK_BYTES,
  type RwLock,
  type SpinLock,
  ThreadMachine,
} from "@kvm-age/machine";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EventRecord } from "../../src/tracing/event-record.js";
import {
  createEventStream,
  type EventStream,
  STREAM_WORDS,
  streamWords,
} from "../../src/tracing/event-stream.js";
import { readEventStream } from "../../src/tracing/event-stream-reader.js";
import { mergeStreams } from "../../src/tracing/merge-streams.js";
import { note } from "../../src/tracing/notes.js";
import { createRecordingClock, type RecordingClockHandle } from "../../src/tracing/recording-clock.js";
import { ThreadRecorder } from "../../src/tracing/thread-recorder.js";

let directory: string;
let machine: ThreadMachine;
let memory: Address;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "kvm-age-recorder-"));
  machine = ThreadMachine.create({ arenaBytes: 4 << 20 });
  memory = machine.frames.allocateSpan(machine.attach(), 4096);
});
afterEach(() => rm(directory, { recursive: true }));

interface Recorded {
  readonly cpu: Cpu;
  readonly stream: EventStream;
}

/** A processor whose events are recorded. */
function recorded(comm: string, clock: RecordingClockHandle, irqsOffInFastPageFault = false): Recorded {
  const stream = createEventStream({ comm, path: join(directory, comm), clock, irqsOffInFastPageFault });
  const recorder = new ThreadRecorder(stream);
  return { cpu: recorder.outermost(recorder.innermost(machine.attach())), stream };
}

async function merged(...threads: readonly Recorded[]): Promise<(readonly [string, EventRecord])[]> {
  const sources = threads.map(({ stream }) => ({ origin: stream.comm, batches: readEventStream(stream) }));
  const events: (readonly [string, EventRecord])[] = [];
  for await (const batch of mergeStreams(sources)) events.push(...batch);
  return events;
}

function sayChanged(cpu: Cpu, oldSpte: bigint, newSpte: bigint): void {
  const fields = { as_id: 0, gfn: 1, level: 1, old_spte: oldSpte, new_spte: newSpte };
  cpu.trace({ name: "kvm_tdp_mmu_spte_changed", fields });
}

const unlimited = (): RecordingClockHandle => createRecordingClock(Number.POSITIVE_INFINITY);

describe("the order of events of one entry is that of its values, however late a thread tells of its write", () => {
  const writes: Readonly<Record<string, (cpu: Cpu, from: bigint, to: bigint) => void>> = {
    "compare-exchange": (cpu, from, to) => void cpu.cmpxchg(memory, from, to, "full"),
    exchange: (cpu, _from, to) => void cpu.xchg(memory, to, "full"),
    "atomic AND": (cpu, _from, to) => void cpu.fetchAnd(memory, to, "full"),
    "plain store": (cpu, _from, to) => cpu.writeOnce(memory, to),
    "store-release": (cpu, _from, to) => cpu.storeRelease(memory, to),
  };
  test.each(Object.entries(writes))("%s", async (_name, write) => {
    const clock = unlimited();
    const [late, prompt] = [recorded("late", clock), recorded("prompt", clock)];
    late.cpu.writeOnce(memory, 7n);
    write(late.cpu, 7n, 3n);
    write(prompt.cpu, 3n, 1n);
    sayChanged(prompt.cpu, 3n, 1n);
    sayChanged(late.cpu, 7n, 3n);
    expect((await merged(late, prompt)).map(([comm]) => comm)).toEqual(["late", "prompt"]);
  });

  test("a fast page fault, whose new value was read back and is another's by then", async () => {
    const clock = unlimited();
    const [vcpu, ager] = [recorded("vcpu", clock), recorded("ager", clock)];
    vcpu.cpu.writeOnce(memory, 8n);
    vcpu.cpu.cmpxchg(memory, 8n, 15n, "full");
    vcpu.cpu.fetchOr(offset(memory, 64), 1n, "full");
    ager.cpu.cmpxchg(memory, 15n, 8n, "full");
    sayChanged(ager.cpu, 15n, 8n);
    const fields = { old_spte: 8n, new_spte: 8n, spurious: false, fixed: true };
    vcpu.cpu.trace({ name: "fast_page_fault", fields });
    expect((await merged(vcpu, ager)).map(([comm]) => comm)).toEqual(["vcpu", "ager"]);
  });

  test("a lost compare-exchange is no write", async () => {
    const clock = unlimited();
    const [loser, other] = [recorded("loser", clock), recorded("other", clock)];
    loser.cpu.cmpxchg(memory, 99n, 3n, "full");
    sayChanged(other.cpu, 5n, 6n);
    sayChanged(loser.cpu, 99n, 3n);
    expect((await merged(loser, other)).map(([comm]) => comm)).toEqual(["other", "loser"]);
  });
});

test("a thread's own events stay in the order in which it emitted them", async () => {
  const thread = recorded("thread", unlimited());
  thread.cpu.writeOnce(memory, 1n);
  thread.cpu.trace({ name: "kvm_mmu_prepare_zap_page", fields: {} });
  sayChanged(thread.cpu, 0n, 1n);
  const events = (await merged(thread)).map(([, { name }]) => name);
  expect(events).toEqual(["kvm_mmu_prepare_zap_page", "kvm_tdp_mmu_spte_changed"]);
  const [[, first], [, second]] = (await merged(thread)) as [[string, EventRecord], [string, EventRecord]];
  expect(second.ns).toBe(first.ns);
});

describe("context of an event", () => {
  const mmuLock: RwLock = {
    kind: "rwlock",
    address: 0 as Address,
    lockClass: { name: "kvm->mmu_lock", sleeps: false },
  };
  const mmapLock: RwLock = {
    kind: "rwlock",
    address: 0 as Address,
    lockClass: { name: "mm->mmap_lock", sleeps: true },
  };
  const pteLock: SpinLock = {
    kind: "spinlock",
    address: 0 as Address,
    lockClass: { name: "ptlock_ptr(ptdesc)", sleeps: false },
  };

  test("counts spinning locks and disabled preemption; no semaphore, no RCU section", async () => {
    const { cpu, stream } = recorded("thread", unlimited());
    const at = <Lock extends { readonly address: Address }>(lock: Lock, index: number): Lock => {
      return { ...lock, address: offset(memory, index * RWLOCK_BYTES) };
    };
    const [mmu, mmap, pte] = [at(mmuLock, 0), at(mmapLock, 1), at(pteLock, 2)];
    const say = (): void => cpu.trace({ name: "kvm_age_hva", fields: { start: 0, end: 4096 } });
    const steps = [
      () => cpu.readLock(mmap),
      () => cpu.spinLock(pte),
      () => cpu.writeLock(mmu),
      () => cpu.writeUnlock(mmu),
      () => cpu.readLock(mmu),
      () => cpu.preemptDisable(),
      () => cpu.preemptEnable(),
      () => cpu.readUnlock(mmu),
      () => cpu.spinUnlock(pte),
      () => void cpu.spinTrylock(pte),
      () => void cpu.spinTrylock(pte),
      () => cpu.spinUnlock(pte),
      () => cpu.rcuReadLock(),
      () => cpu.rcuReadUnlock(),
      () => cpu.readUnlock(mmap),
    ];
    for (const step of steps) {
      step();
      say();
    }
    const depths = (await merged({ cpu, stream })).map(([, { preemptDepth }]) => preemptDepth);
    expect(depths).toEqual([0, 1, 2, 1, 2, 3, 2, 1, 0, 1, 1, 0, 0, 0, 0]);
  });

  test.each([true, false])("interrupts are off in fast page faults of shadow pages: %s", async (off) => {
    const thread = recorded("thread", unlimited(), off);
    thread.cpu.trace({ name: "fast_page_fault", fields: {} });
    thread.cpu.trace({ name: "kvm_page_fault", fields: {} });
    expect((await merged(thread)).map(([, { irqsOff }]) => irqsOff)).toEqual([off, false]);
  });
});

test("beyond the limit events are counted, whatever thread they come from, and notes are kept", async () => {
  const clock = createRecordingClock(3);
  const threads = [recorded("a", clock), recorded("b", clock)];
  for (let round = 0; round < 5; round++) {
    for (const { cpu } of threads) cpu.trace({ name: "kvm_age_hva", fields: { start: round, end: 0 } });
  }
  threads[0]!.cpu.trace(note("end"));
  const names = (await merged(...threads)).map(([, { name }]) => name);
  expect(names).toEqual(["kvm_age_hva", "kvm_age_hva", "kvm_age_hva", "tracing_mark_write"]);
  expect(threads.map(({ stream }) => streamWords(stream)[STREAM_WORDS.lost])).toEqual([3, 4]);
});
