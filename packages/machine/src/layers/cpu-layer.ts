import type { Cpu } from "../cpu/cpu.js";

/**
 * Something put around a `Cpu` that observes or checks what passes through it. Layers nest:
 * `withLockdep(graph)(traceTo(sink)(cpu))`. A layer keeps state of one processor, so each `Cpu` gets its own.
 *
 * On a machine that suspends and replays operations, a layer belongs inside, around the `Cpu` that really
 * executes accesses: a replayed access must not reach it twice.
 */
export type CpuLayer = (cpu: Cpu) => Cpu;

/** The null layer: the `Cpu` itself, so a layer that is not wanted costs nothing. */
export const noLayer: CpuLayer = (cpu) => cpu;
