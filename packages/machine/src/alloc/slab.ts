import { FRAME_BYTES } from "../arena/layout.js";
import { type Address, offset } from "../cpu/address.js";
import type { Cpu } from "../cpu/cpu.js";
import { DoubleFreeError, ForeignFreeError, ObjectSizeError } from "./errors.js";
import type { FrameAllocator } from "./frame-allocator.js";
import { popTagged, pushTagged } from "./tagged-stack.js";

/** Bytes of a slab's control block. */
export const SLAB_BYTES = 64;

/** A slab as plain data, to be sent to other threads. */
export interface SlabHandle {
  readonly address: Address;
  readonly name: string;
  readonly objectBytes: number;
}

const BITMAP_BYTES = 64;
const MIN_OBJECT_BYTES = 8;
const MAX_OBJECT_BYTES = 2016;
const CACHE_LINE_BYTES = 64;

/**
 * A typed object allocator (`kmem_cache`): equal-sized, zero-filled objects cut out of frames. Each frame begins with a bitmap
 * of objects in use and a link per object, so that free objects carry no metadata and a free of a free object is
 * seen. Lock-free; usable from every processor at once.
 */
export class Slab {
  readonly address: Address;
  readonly name: string;
  readonly objectBytes: number;
  readonly objectsPerFrame: number;
  private readonly objectsOffset: number;

  constructor(
    private readonly frames: FrameAllocator,
    handle: SlabHandle,
  ) {
    this.address = handle.address;
    this.name = handle.name;
    this.objectBytes = handle.objectBytes;
    this.objectsPerFrame = slabObjectsPerFrame(handle.objectBytes);
    this.objectsOffset = slabObjectsOffset(handle.objectBytes);
  }

  get handle(): SlabHandle {
    return { address: this.address, name: this.name, objectBytes: this.objectBytes };
  }

  /** Objects handed out and not freed. Exact only while nobody allocates. */
  allocatedObjects(cpu: Cpu): number {
    return cpu.readOnce32(this.allocatedWord);
  }

  /**
   * Allocates one object, every word of it zero.
   *
   * @throws OutOfMemoryError if a new frame is needed and none is left.
   */
  allocate(cpu: Cpu): Address {
    const object = (popTagged(cpu, this.freeWord, this.linkWordOf) || this.grow(cpu)) as Address;
    const { word, bit } = this.bitmapBit(object);
    cpu.fetchOr(word, bit, "relaxed");
    cpu.memset64(object, 0n, this.objectBytes / 8);
    cpu.fetchAdd32(this.allocatedWord, 1, "relaxed");
    return object;
  }

  /**
   * Frees an object of this slab.
   *
   * @throws DoubleFreeError if it is free already.
   * @throws ForeignFreeError if it is no object of this slab.
   */
  free(cpu: Cpu, object: Address): void {
    this.checkObject(cpu, object);
    const { word, bit } = this.bitmapBit(object);
    // One atomic clear decides between two frees of the same object. Full: what the owner did to the object is
    // seen before the object can be handed out again.
    const before = cpu.fetchAnd(word, BigInt.asUintN(64, ~bit), "full");
    if ((before & bit) === 0n) throw new DoubleFreeError(this.name, object);
    cpu.fetchAdd32(this.allocatedWord, -1, "relaxed");
    pushTagged(cpu, this.freeWord, object, object, this.linkWordOf);
  }

  private get freeWord(): Address {
    return this.address;
  }

  private get allocatedWord(): Address {
    return offset(this.address, 8);
  }

  private readonly linkWordOf = (object: number): Address => {
    const frame = object - (object % FRAME_BYTES);
    return (frame + BITMAP_BYTES + this.indexOf(object) * 4) as Address;
  };

  private indexOf(object: number): number {
    return ((object % FRAME_BYTES) - this.objectsOffset) / this.objectBytes;
  }

  private bitmapBit(object: number): { word: Address; bit: bigint } {
    const index = this.indexOf(object);
    const frame = object - (object % FRAME_BYTES);
    return { word: (frame + Math.floor(index / 64) * 8) as Address, bit: 1n << BigInt(index % 64) };
  }

  private checkObject(cpu: Cpu, object: Address): void {
    if (this.frames.slabOf(cpu, object) !== this.address) {
      throw new ForeignFreeError(this.name, object, "it lies in no frame of this slab");
    }
    const index = this.indexOf(object);
    if (!Number.isInteger(index) || index < 0 || index >= this.objectsPerFrame) {
      throw new ForeignFreeError(this.name, object, "it is not the start of an object");
    }
  }

  /** Cuts a new frame into objects; returns the first and stacks the others. */
  private grow(cpu: Cpu): number {
    const frame = this.frames.allocateFrame(cpu);
    this.frames.markSlabFrame(cpu, frame, this.address);
    const first = frame + this.objectsOffset;
    const last = first + (this.objectsPerFrame - 1) * this.objectBytes;
    for (let object = first + this.objectBytes; object < last; object += this.objectBytes) {
      cpu.writeOnce32(this.linkWordOf(object), object + this.objectBytes);
    }
    if (last > first) pushTagged(cpu, this.freeWord, first + this.objectBytes, last, this.linkWordOf);
    return first;
  }
}

/** Where the first of `objects` lies: behind bitmap and links; objects of whole cache lines begin at a cache line. */
function firstObjectOffset(objectBytes: number, objects: number): number {
  const alignment = objectBytes % CACHE_LINE_BYTES === 0 ? CACHE_LINE_BYTES : 8;
  return Math.ceil((BITMAP_BYTES + objects * 4) / alignment) * alignment;
}

/** Objects of `objectBytes` that fit into a frame beside its bitmap and links. */
export function slabObjectsPerFrame(objectBytes: number): number {
  const objects = Math.min(512, Math.floor((FRAME_BYTES - BITMAP_BYTES - 4) / (objectBytes + 4)));
  const end = firstObjectOffset(objectBytes, objects) + objects * objectBytes;
  return end <= FRAME_BYTES ? objects : objects - 1;
}

/** Where the first object lies in a slab's frame: a multiple of 64 if `objectBytes` is one, else of 8. */
export function slabObjectsOffset(objectBytes: number): number {
  return firstObjectOffset(objectBytes, slabObjectsPerFrame(objectBytes));
}

/** u32 of a slab's control block: size of its objects, for those who meet the slab by its frame. */
export function slabObjectBytesWord(slab: Address): Address {
  return offset(slab, 12);
}

/** How a frame of a slab is divided. */
export interface SlabFrameLayout {
  /** Bytes of the bitmap and the links. */
  readonly headerBytes: number;
  /** Where the first object lies. */
  readonly objectsOffset: number;
  readonly objects: number;
}

/** The division of a frame for objects of `objectBytes`. */
export function slabFrameLayout(objectBytes: number): SlabFrameLayout {
  const objects = slabObjectsPerFrame(objectBytes);
  return {
    headerBytes: BITMAP_BYTES + 4 * objects,
    objectsOffset: slabObjectsOffset(objectBytes),
    objects,
  };
}

/**
 * Makes a slab whose control block is the zero-filled `SLAB_BYTES` at `address`.
 *
 * @throws ObjectSizeError if `objectBytes` is not a multiple of 8 in [8, 2016].
 */
export function createSlab(
  frames: FrameAllocator,
  cpu: Cpu,
  address: Address,
  name: string,
  objectBytes: number,
): Slab {
  if (objectBytes % 8 !== 0 || objectBytes < MIN_OBJECT_BYTES || objectBytes > MAX_OBJECT_BYTES) {
    throw new ObjectSizeError(name, objectBytes, MIN_OBJECT_BYTES, MAX_OBJECT_BYTES);
  }
  cpu.writeOnce32(slabObjectBytesWord(address), objectBytes);
  return new Slab(frames, { address, name, objectBytes });
}
