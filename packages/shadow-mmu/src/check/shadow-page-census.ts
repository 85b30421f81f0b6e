import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { type KvmMmuPageRoleFields, roleFields } from "@kvm-age/spte";
import { KVM_NUM_MMU_PAGES, nextHashedSp } from "../hash/page-hash.js";
import { type KvmMmuPage, NO_PAGE, spGfn, spRole } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/** What one check of all shadow pages knows: every page that is in the hash, and what was found wrong. */
export interface ShadowPageCensus {
  readonly mmu: ShadowMmu;
  readonly cpu: Cpu;
  readonly violations: string[];
  /** By page, its bucket. */
  readonly pages: ReadonlyMap<KvmMmuPage, number>;
}

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** The fields of a page's role. */
export function fieldsOf({ mmu, cpu }: ShadowPageCensus, sp: KvmMmuPage): KvmMmuPageRoleFields {
  return roleFields(mmu.format.rules, spRole(cpu, sp));
}

/** Which page a sentence is about. */
export function nameOf(census: ShadowPageCensus, sp: KvmMmuPage): string {
  const { level, direct } = fieldsOf(census, sp);
  const role = hex(spRole(census.cpu, sp));
  return `page ${hex(sp)} (gfn ${hex(spGfn(census.cpu, sp))} level ${level} role ${role}${direct ? " direct" : ""})`;
}

/** Walks all buckets. */
export function takeShadowPageCensus(mmu: ShadowMmu, cpu: Cpu): ShadowPageCensus {
  const violations: string[] = [];
  const pages = new Map<KvmMmuPage, number>();
  const hash = cpu.loadAcquire32(mmu.pageHashWord) as Address;
  const buckets = hash === NULL_ADDRESS ? 0 : KVM_NUM_MMU_PAGES;
  for (let bucket = 0; bucket < buckets; bucket++) {
    let sp = cpu.readOnce32(offset(hash, bucket * 4)) as KvmMmuPage;
    for (; sp !== NO_PAGE; sp = nextHashedSp(cpu, sp)) {
      if (pages.has(sp)) {
        violations.push(`page ${hex(sp)}: in the hash twice`);
        break;
      }
      pages.set(sp, bucket);
    }
  }
  return { mmu, cpu, violations, pages };
}
