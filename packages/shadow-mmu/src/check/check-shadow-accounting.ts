import { gfnWriteTrackCount, KVM_LPAGE_MIXED_FLAG, lpageInfoSlot, NULL_SLOT } from "@kvm-age/memslot";
import { type Gfn, kvmMmuRoleAsId, PG_LEVEL_2M, PG_LEVEL_4K, roleLevel } from "@kvm-age/spte";
import { type KvmMmuPage, spGfn, spRole } from "../page/kvm-mmu-page.js";
import { spHasGptes } from "../page/sp-has-gptes.js";
import { fieldsOf, hex, type ShadowPageCensus } from "./shadow-page-census.js";

/** Pages that shadow tables in one frame of guest memory. */
interface Shadowed {
  readonly asId: number;
  readonly gfn: Gfn;
  pages: number;
  aboveLevel1: number;
}

function shadowedFrames(census: ShadowPageCensus, indirect: readonly KvmMmuPage[]): Iterable<Shadowed> {
  const { cpu } = census;
  const frames = new Map<string, Shadowed>();
  for (const sp of indirect) {
    const role = spRole(cpu, sp);
    const asId = kvmMmuRoleAsId(role);
    const gfn = spGfn(cpu, sp);
    const key = `${asId} ${gfn}`;
    const shadowed = frames.get(key) ?? { asId, gfn, pages: 0, aboveLevel1: 0 };
    shadowed.pages++;
    if (roleLevel(role) > PG_LEVEL_4K) shadowed.aboveLevel1++;
    frames.set(key, shadowed);
  }
  return frames.values();
}

/** The slot's counters for one frame: at least what shadow pages have added, since others may have too. */
function checkFrame({ mmu, cpu, violations }: ShadowPageCensus, shadowed: Shadowed): void {
  const { asId, gfn, pages, aboveLevel1 } = shadowed;
  const name = `gfn ${hex(gfn)} of address space ${asId}`;
  const slot = mmu.memslots.gfnToMemslot(cpu, asId, gfn);
  if (slot === NULL_SLOT) {
    violations.push(`${name}: shadowed, yet in no slot`);
    return;
  }
  const tracked = gfnWriteTrackCount(cpu, slot, gfn);
  if (tracked < aboveLevel1)
    violations.push(`${name}: write-tracked ${tracked} times by ${aboveLevel1} pages`);
  const disallowed = cpu.readOnce32(lpageInfoSlot(cpu, slot, gfn, PG_LEVEL_2M)) % KVM_LPAGE_MIXED_FLAG;
  if (disallowed < pages) violations.push(`${name}: disallow_lpage ${disallowed}, ${pages} pages`);
}

/** What shadow pages are counted in (§16.2), the quota included. */
export function checkShadowAccounting(census: ShadowPageCensus): void {
  const { mmu, cpu, violations, pages } = census;
  const used = cpu.readOnce32(mmu.nUsedMmuPagesWord);
  if (used !== pages.size)
    violations.push(`mmu_shadow_pages is ${used}, ${pages.size} pages are in the hash`);
  const indirect = [...pages.keys()].filter(
    (sp) => spHasGptes(spRole(cpu, sp)) && !fieldsOf(census, sp).invalid,
  );
  const counted = cpu.readOnce32(mmu.indirectShadowPagesWord);
  if (counted !== indirect.length) {
    violations.push(`indirect_shadow_pages is ${counted}, ${indirect.length} pages shadow guest tables`);
  }
  for (const shadowed of shadowedFrames(census, indirect)) checkFrame(census, shadowed);
}
