import { type Address, NULL_ADDRESS, offset } from "../cpu/address.js";

/** A frame is a page-table page or a piece of a larger allocation. */
export const FRAME_BYTES = 4096;
export const FRAME_SHIFT = 12;
export const WORDS_PER_FRAME = 512;

/** "kvmA" and the layout version. */
export const MACHINE_SIGNATURE = 0x6b766d41;

// Words of the machine header, which fills the first frame after the null word.
/** u32: `MACHINE_SIGNATURE`. */
export const SIGNATURE_WORD: Address = offset(NULL_ADDRESS, 64);
/** u32: processor slots. */
export const MAX_CPUS_WORD: Address = offset(NULL_ADDRESS, 68);
/** u32: frames in the arena, the machine's own included. */
export const FRAME_COUNT_WORD: Address = offset(NULL_ADDRESS, 72);
/** u32: number of the first frame that the allocator may hand out. */
export const FIRST_FRAME_WORD: Address = offset(NULL_ADDRESS, 76);
/** u32: next frame that was never handed out. */
export const FRONTIER_WORD: Address = offset(NULL_ADDRESS, 80);
/** u32: frames handed out and not yet freed. */
export const ALLOCATED_FRAMES_WORD: Address = offset(NULL_ADDRESS, 84);
/** u32: first free span of two or more frames; 0 if none. Under `SPAN_LOCK_WORD`. */
export const FREE_SPANS_WORD: Address = offset(NULL_ADDRESS, 88);
/** Spinlock over the free spans. */
export const SPAN_LOCK_WORD: Address = offset(NULL_ADDRESS, 96);
/** u64: free single frames, a stack: tag in the upper half, frame number in the lower. */
export const FREE_FRAMES_WORD: Address = offset(NULL_ADDRESS, 104);
/** u32: RCU epoch. */
export const RCU_EPOCH_WORD: Address = offset(NULL_ADDRESS, 128);
/** A word nobody writes: threads nap on it. */
export const NAP_WORD: Address = offset(NULL_ADDRESS, 192);

/** Where the processor slots begin, and their size. */
export const CPU_SLOTS_ADDRESS: Address = offset(NULL_ADDRESS, FRAME_BYTES);
export const CPU_SLOT_BYTES = 64;

/** u32: 1 while a thread is attached as this processor. */
export function cpuAttachedWord(cpu: number): Address {
  return offset(CPU_SLOTS_ADDRESS, cpu * CPU_SLOT_BYTES);
}

/** u32: RCU state of a processor: 0 outside read sections, else `epoch << 1 | 1`. */
export function cpuRcuWord(cpu: number): Address {
  return offset(CPU_SLOTS_ADDRESS, cpu * CPU_SLOT_BYTES + 4);
}

/** Frames taken by the header and the processor slots. */
export function fixedFrames(maxCpus: number): number {
  return 1 + Math.ceil((maxCpus * CPU_SLOT_BYTES) / FRAME_BYTES);
}

/** Where the frame table (8 bytes a frame) begins on a machine of `maxCpus`. */
export function frameTableAddress(maxCpus: number): Address {
  return offset(NULL_ADDRESS, fixedFrames(maxCpus) * FRAME_BYTES);
}
