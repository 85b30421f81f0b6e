import type { Address } from "../cpu/address.js";
import type { ClearMethod, MemoryOrder } from "../cpu/cpu.js";
import { ForwardingCpu } from "./forwarding-cpu.js";

/** The accesses of a `Cpu`, by the names of its methods. */
export type AccessKind =
  | "readOnce"
  | "writeOnce"
  | "loadAcquire"
  | "storeRelease"
  | "cmpxchg"
  | "xchg"
  | "fetchAnd"
  | "fetchOr"
  | "fetchAdd"
  | "clearBitsWhere"
  | "memset64"
  | "readOnce32"
  | "writeOnce32"
  | "loadAcquire32"
  | "storeRelease32"
  | "cmpxchg32"
  | "xchg32"
  | "fetchAnd32"
  | "fetchOr32"
  | "fetchAdd32";

/** Bytes of a word: its width. */
export type WordBytes = 4 | 8;

/** A layer that looks at every access before it happens. */
export abstract class AccessObservingCpu extends ForwardingCpu {
  /** Called before an access to `count` consecutive words of `wordBytes` from `address`. */
  protected abstract beforeAccess(
    kind: AccessKind,
    address: Address,
    wordBytes: WordBytes,
    count: number,
  ): void;

  override readOnce(address: Address): bigint {
    this.beforeAccess("readOnce", address, 8, 1);
    return this.inner.readOnce(address);
  }

  override writeOnce(address: Address, value: bigint): void {
    this.beforeAccess("writeOnce", address, 8, 1);
    this.inner.writeOnce(address, value);
  }

  override loadAcquire(address: Address): bigint {
    this.beforeAccess("loadAcquire", address, 8, 1);
    return this.inner.loadAcquire(address);
  }

  override storeRelease(address: Address, value: bigint): void {
    this.beforeAccess("storeRelease", address, 8, 1);
    this.inner.storeRelease(address, value);
  }

  override cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    this.beforeAccess("cmpxchg", address, 8, 1);
    return this.inner.cmpxchg(address, expected, replacement, order);
  }

  override xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    this.beforeAccess("xchg", address, 8, 1);
    return this.inner.xchg(address, value, order);
  }

  override fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.beforeAccess("fetchAnd", address, 8, 1);
    return this.inner.fetchAnd(address, mask, order);
  }

  override fetchOr(address: Address, mask: bigint, order: MemoryOrder): bigint {
    this.beforeAccess("fetchOr", address, 8, 1);
    return this.inner.fetchOr(address, mask, order);
  }

  override fetchAdd(address: Address, addend: bigint, order: MemoryOrder): bigint {
    this.beforeAccess("fetchAdd", address, 8, 1);
    return this.inner.fetchAdd(address, addend, order);
  }

  override clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number {
    this.beforeAccess("clearBitsWhere", address, 8, count);
    return this.inner.clearBitsWhere(address, count, mask, value, clear, method);
  }

  override memset64(address: Address, value: bigint, count: number): void {
    this.beforeAccess("memset64", address, 8, count);
    this.inner.memset64(address, value, count);
  }

  override readOnce32(address: Address): number {
    this.beforeAccess("readOnce32", address, 4, 1);
    return this.inner.readOnce32(address);
  }

  override writeOnce32(address: Address, value: number): void {
    this.beforeAccess("writeOnce32", address, 4, 1);
    this.inner.writeOnce32(address, value);
  }

  override loadAcquire32(address: Address): number {
    this.beforeAccess("loadAcquire32", address, 4, 1);
    return this.inner.loadAcquire32(address);
  }

  override storeRelease32(address: Address, value: number): void {
    this.beforeAccess("storeRelease32", address, 4, 1);
    this.inner.storeRelease32(address, value);
  }

  override cmpxchg32(address: Address, expected: number, replacement: number, order: MemoryOrder): number {
    this.beforeAccess("cmpxchg32", address, 4, 1);
    return this.inner.cmpxchg32(address, expected, replacement, order);
  }

  override xchg32(address: Address, value: number, order: MemoryOrder): number {
    this.beforeAccess("xchg32", address, 4, 1);
    return this.inner.xchg32(address, value, order);
  }

  override fetchAnd32(address: Address, mask: number, order: MemoryOrder): number {
    this.beforeAccess("fetchAnd32", address, 4, 1);
    return this.inner.fetchAnd32(address, mask, order);
  }

  override fetchOr32(address: Address, mask: number, order: MemoryOrder): number {
    this.beforeAccess("fetchOr32", address, 4, 1);
    return this.inner.fetchOr32(address, mask, order);
  }

  override fetchAdd32(address: Address, addend: number, order: MemoryOrder): number {
    this.beforeAccess("fetchAdd32", address, 4, 1);
    return this.inner.fetchAdd32(address, addend, order);
  }
}
