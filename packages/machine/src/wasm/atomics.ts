/// <reference path="./webassembly.d.ts" />
import type { ArenaMemory } from "../arena/arena-memory.js";
import { atomicsWasmBase64 } from "./atomics.generated.js";

/** The native accesses of `wasm/atomics.wat`, bound to one memory. Addresses are byte offsets. */
export interface Atomics64 {
  load(address: number): bigint;
  store(address: number, value: bigint): void;
  xchg(address: number, value: bigint): bigint;
  cmpxchg(address: number, expected: bigint, replacement: bigint): bigint;
  fetchAnd(address: number, mask: bigint): bigint;
  fetchOr(address: number, mask: bigint): bigint;
  fetchAdd(address: number, addend: bigint): bigint;
  fence(): void;
  clearBitsWhereCmpxchg(address: number, count: number, mask: bigint, value: bigint, clear: bigint): number;
  clearBitsWhereAnd(address: number, count: number, mask: bigint, value: bigint, clear: bigint): number;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

let compiled: WebAssembly.Module | undefined;

/** Instantiates the embedded module over `memory`. Compiled once per JavaScript realm. */
export function bindAtomics64(memory: ArenaMemory): Atomics64 {
  compiled ??= new WebAssembly.Module(decodeBase64(atomicsWasmBase64));
  const instance = new WebAssembly.Instance(compiled, { arena: { memory } });
  return instance.exports as unknown as Atomics64;
}
