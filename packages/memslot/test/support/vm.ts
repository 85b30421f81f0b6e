import { ThreadMachine } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import {
  createMemslots,
  type Hva,
  type KvmUserspaceMemoryRegion,
  kvmSetMemoryRegion,
  type Memslots,
  type MemslotsInit,
} from "../../src/index.js";
import { FakeMmu } from "./fake-mmu.js";
import { type RecordingCpu, recordingCpu } from "./recording-cpu.js";

export interface TestVm extends RecordingCpu {
  readonly machine: ThreadMachine;
  readonly memslots: Memslots;
  readonly mmu: FakeMmu;
  /** `KVM_SET_USER_MEMORY_REGION` with defaults. */
  set(region: Partial<KvmUserspaceMemoryRegion>): void;
}

export const gfn = (value: number): Gfn => value as Gfn;
export const hva = (value: number): Hva => value as Hva;

export const MAX_GFN: Gfn = gfn(2 ** 36 - 1);
export const BUFFER = 0x7f0000000000;

/** One slot of 16 pages at gfn 0x100, unless told otherwise. */
export function region(changes: Partial<KvmUserspaceMemoryRegion> = {}): KvmUserspaceMemoryRegion {
  return {
    slot: 0,
    flags: 0,
    guestPhysAddr: 0x100000,
    memorySize: 0x10000,
    userspaceAddr: BUFFER,
    ...changes,
  };
}

export function createVm(init: Partial<MemslotsInit> = {}, arenaBytes = 16 << 20): TestVm {
  const machine = ThreadMachine.create({ arenaBytes, maxCpus: 4 });
  const recording = recordingCpu(machine.attach());
  const memslots = createMemslots(recording.cpu, machine, { maxGfn: MAX_GFN, ...init });
  const mmu = new FakeMmu();
  const set = (changes: Partial<KvmUserspaceMemoryRegion>): void =>
    kvmSetMemoryRegion(memslots, recording.cpu, mmu, region(changes));
  return { ...recording, machine, memslots, mmu, set };
}
