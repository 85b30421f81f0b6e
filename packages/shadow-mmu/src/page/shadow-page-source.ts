import type { FrameAllocator, ObjectSource } from "@kvm-age/machine";
import { SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";

/** Tables whose 512 entries are `SHADOW_NONPRESENT_VALUE`, straight from the frame allocator. */
export function shadowPageSource(frames: FrameAllocator): ObjectSource {
  return {
    name: "shadow page cache",
    allocate: (cpu) => frames.allocateFrame(cpu, SHADOW_NONPRESENT_VALUE),
    free: (cpu, frame) => frames.freeFrame(cpu, frame),
  };
}
