import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { VM_PFNMAP } from "../vma/vma-table.js";
import { hexHva, type Mappings } from "./check-page-tables.js";

/** Checks that every page of backed memory has a frame, in use as such and for nothing else. */
export function checkBackedFrames(mm: MmStruct, cpu: Cpu, mappings: Mappings): string[] {
  const violations: string[] = [];
  for (const [frame, index] of mappings.backedFrames) {
    const name = `frame 0x${frame.toString(16)} at ${hexHva(index)}`;
    if (!mm.frameRecords.owns(cpu, frame)) violations.push(`${name} is not in use as backed memory`);
    if (mappings.tables.has(frame)) violations.push(`${name} is a page table`);
  }
  const indices = new Set(mappings.backedFrames.values());
  for (const index of backedPages(mm, cpu)) {
    if (!indices.has(index)) violations.push(`${hexHva(index)} is backed memory without a frame`);
  }
  return violations;
}

/** Every page of the mappings of backed memory. */
function* backedPages({ vmas }: MmStruct, cpu: Cpu): Generator<number> {
  for (let vma = 0; vma < vmas.count(cpu); vma++) {
    if ((vmas.flags(cpu, vma) & VM_PFNMAP) === 0) continue;
    for (let index = vmas.start(cpu, vma); index < vmas.end(cpu, vma); index++) yield index;
  }
}
