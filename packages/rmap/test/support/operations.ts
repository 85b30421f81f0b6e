import type { Address, Cpu } from "@kvm-age/machine";
import {
  type KvmRmapHead,
  kvmRmapLockReadonly,
  kvmRmapUnlockReadonly,
  kvmZapAllRmapSptes,
  kvmZapOneRmapSpte,
  pteListAdd,
  pteListRemove,
  RmapIterator,
} from "../../src/index.js";
import { PRESENT, type RmapVm } from "./vm.js";

/** Runs `change` with `mmu_lock` held for write. */
export function underMmuLock<Result>(vm: RmapVm, cpu: Cpu, change: () => Result): Result {
  cpu.writeLock(vm.mmuLock);
  const result = change();
  cpu.writeUnlock(vm.mmuLock);
  return result;
}

/** Slots of a list, walked from a value of its head. */
export function slotsOf(cpu: Cpu, value: bigint): Address[] {
  const iterator = new RmapIterator();
  const slots: Address[] = [];
  for (let slot = iterator.getFirst(cpu, value); slot !== 0; slot = iterator.getNext(cpu)) slots.push(slot);
  return slots;
}

/** Numbers of the SPTEs that a lockless reader finds, those of present ones only if `present`. */
export function readLockless(vm: RmapVm, cpu: Cpu, head: KvmRmapHead, present = false): number[] {
  const value = kvmRmapLockReadonly(vm.rmaps, cpu, head);
  const slots = slotsOf(cpu, value).filter((slot) => !present || cpu.readOnce(slot) !== 0n);
  kvmRmapUnlockReadonly(vm.rmaps, cpu, head, value);
  return slots.map((slot) => vm.idOf(slot));
}

/** Makes the SPTE present and adds it. */
export function add(vm: RmapVm, head: KvmRmapHead, id: number, cpu: Cpu = vm.cpu): number {
  const sptep = vm.sptep(id);
  cpu.writeOnce(sptep, PRESENT);
  return underMmuLock(vm, cpu, () => pteListAdd(vm.rmaps, cpu, vm.rmaps.descriptors, sptep, head));
}

/** Adds 0 … count - 1. */
export function addMany(vm: RmapVm, head: KvmRmapHead, count: number): void {
  for (let id = 0; id < count; id++) add(vm, head, id);
}

export function remove(vm: RmapVm, head: KvmRmapHead, id: number, cpu: Cpu = vm.cpu): void {
  underMmuLock(vm, cpu, () => pteListRemove(vm.rmaps, cpu, vm.sptep(id), head));
}

/** Clears an SPTE that must have been present. */
export function clearSpte(cpu: Cpu, sptep: Address): void {
  const old = cpu.xchg(sptep, 0n, "full");
  if (old !== PRESENT) throw new Error(`SPTE 0x${sptep.toString(16)} was 0x${old.toString(16)}`);
}

export function zapOne(vm: RmapVm, head: KvmRmapHead, id: number, cpu: Cpu = vm.cpu): void {
  underMmuLock(vm, cpu, () => kvmZapOneRmapSpte(vm.rmaps, cpu, head, vm.sptep(id), clearSpte));
}

/** Zaps all; returns what the kernel function returns and the numbers of the SPTEs in zapping order. */
export function zapAll(vm: RmapVm, head: KvmRmapHead, cpu: Cpu = vm.cpu): { ret: boolean; zapped: number[] } {
  const zapped: number[] = [];
  const clear = (by: Cpu, sptep: Address) => {
    clearSpte(by, sptep);
    zapped.push(vm.idOf(sptep));
  };
  const ret = underMmuLock(vm, cpu, () => kvmZapAllRmapSptes(vm.rmaps, cpu, head, clear));
  return { ret, zapped };
}

/** The error that `action` throws; fails if it throws none. */
export function thrown(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("nothing was thrown");
}
