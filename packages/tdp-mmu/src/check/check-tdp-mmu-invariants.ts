import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, NULL_SLOT } from "@kvm-age/memslot";
import {
  checkSpteWritableInvariants,
  type Gfn,
  isAccessedSpte,
  isAccessTrackSpte,
  isEptVePossible,
  isFrozenSpte,
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  isWritablePte,
  kvmMmuRoleAsId,
  kvmPagesPerHpage,
  type PgLevel,
  roleAdDisabled,
  roleInvalid,
  roleLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  spteAdEnabled,
  spteToPfn,
  withRoleLevel,
} from "@kvm-age/spte";
import {
  type KvmMmuPage,
  nxHugePageDisallowedWord,
  possibleNxNextWord,
  ptepWord,
  rootCountWord,
  spGfn,
  spRole,
  spSpt,
} from "../page/kvm-mmu-page.js";
import { nextRootOnList } from "../root/root-list.js";
import type { TdpMmu } from "../tdp-mmu.js";

/** What one walk over all roots has counted. */
interface Census {
  readonly violations: string[];
  tables: number;
  readonly leaves: number[];
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

function place(gfn: number, level: number, spte: bigint): string {
  return `gfn ${hex(gfn)} level ${level} SPTE ${hex(spte)}`;
}

/** What access tracking hides, and only it: permissions and A go together. Other layouts have none of these bits. */
function checkAccessTracking(mmu: TdpMmu, census: Census, at: string, spte: Spte): void {
  const { format } = mmu;
  if (format.mode !== "ept") return;
  const { accTrackSavedBitsMask, accTrackSavedBitsShift } = format.rules;
  const saved = BigInt.asUintN(64, spte & (accTrackSavedBitsMask << accTrackSavedBitsShift));
  if (isAccessTrackSpte(format, spte)) {
    if (isAccessedSpte(format, spte)) census.violations.push(`${at}: access-tracked, yet accessed`);
    return;
  }
  if (saved !== 0n) census.violations.push(`${at}: saved permissions, yet not access-tracked`);
  if (BigInt.asUintN(3, spte) === 0n) {
    census.violations.push(`${at}: no permission at all, yet not access-tracked`);
  }
}

function checkLeaf(
  mmu: TdpMmu,
  cpu: Cpu,
  census: Census,
  table: KvmMmuPage,
  gfn: Gfn,
  level: PgLevel,
  spte: Spte,
): void {
  const { format } = mmu;
  const role = spRole(cpu, table);
  const at = place(gfn, level, spte);
  census.leaves[level] = (census.leaves[level] ?? 0) + 1;
  if (!checkSpteWritableInvariants(format, spte))
    census.violations.push(`${at}: W, MMU-writable, Host-writable`);
  if (spteAdEnabled(format, spte) === roleAdDisabled(role))
    census.violations.push(`${at}: A/D type is not the table's`);
  if (spteToPfn(format, spte) % kvmPagesPerHpage(level) !== 0)
    census.violations.push(`${at}: pfn not aligned`);
  checkAccessTracking(mmu, census, at, spte);
  if (roleInvalid(format.rules, role)) return;
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(role), gfn);
  if (slot === NULL_SLOT) census.violations.push(`${at}: mapped outside every slot`);
  else if (level > 1 && isWritablePte(spte) && kvmSlotDirtyTrackEnabled(cpu, slot)) {
    census.violations.push(`${at}: writable huge page in a dirty-logged slot`);
  }
}

function checkTable(
  mmu: TdpMmu,
  cpu: Cpu,
  census: Census,
  parent: KvmMmuPage,
  sptep: Address,
  gfn: Gfn,
  spte: Spte,
): void {
  const level = roleLevel(spRole(cpu, parent));
  const at = place(gfn, level, spte);
  const frame = (spteToPfn(mmu.format, spte) * 4096) as Address;
  const child = mmu.frames.readPrivate(cpu, frame) as KvmMmuPage;
  census.tables++;
  if (spSpt(cpu, child) !== frame)
    census.violations.push(`${at}: child's table is ${hex(spSpt(cpu, child))}`);
  if (cpu.readOnce32(ptepWord(child)) !== sptep)
    census.violations.push(`${at}: child's ptep is another entry`);
  if (spGfn(cpu, child) !== gfn) census.violations.push(`${at}: child's gfn is ${hex(spGfn(cpu, child))}`);
  const expectedRole = withRoleLevel(spRole(cpu, parent), (level - 1) as PgLevel);
  // A root may have been invalidated since the child was made; the child's copy of that bit is not kept.
  if (!roleInvalid(mmu.format.rules, expectedRole) && spRole(cpu, child) !== expectedRole) {
    census.violations.push(
      `${at}: child's role is ${hex(spRole(cpu, child))}, expected ${hex(expectedRole)}`,
    );
  }
  checkEntries(mmu, cpu, census, child);
}

function checkNonPresent(mmu: TdpMmu, census: Census, gfn: Gfn, level: PgLevel, spte: Spte): void {
  if (spte === SHADOW_NONPRESENT_VALUE || isMmioSpte(mmu.format, spte)) return;
  const what = isFrozenSpte(mmu.format, spte) ? "frozen in a linked table" : "unknown non-present value";
  census.violations.push(`${place(gfn, level, spte)}: ${what}`);
}

function checkEntries(mmu: TdpMmu, cpu: Cpu, census: Census, table: KvmMmuPage): void {
  const level = roleLevel(spRole(cpu, table));
  const base = spGfn(cpu, table);
  for (let index = 0; index < 512; index++) {
    const sptep = offset(spSpt(cpu, table), index * 8);
    const spte = cpu.readOnce(sptep) as Spte;
    const gfn = (base + index * kvmPagesPerHpage(level)) as Gfn;
    if (isEptVePossible(mmu.format, spte))
      census.violations.push(`${place(gfn, level, spte)}: could raise #VE`);
    if (!isShadowPresentPte(spte)) checkNonPresent(mmu, census, gfn, level, spte);
    else if (isLastSpte(spte, level)) checkLeaf(mmu, cpu, census, table, gfn, level, spte);
    else checkTable(mmu, cpu, census, table, sptep, gfn, spte);
  }
}

function checkRoots(mmu: TdpMmu, cpu: Cpu, census: Census): void {
  const validRoles = new Set<number>();
  let root = nextRootOnList(mmu, cpu, NULL_ADDRESS as KvmMmuPage);
  while (root !== NULL_ADDRESS) {
    const role = spRole(cpu, root);
    const valid = !roleInvalid(mmu.format.rules, role);
    if (valid && cpu.readOnce32(rootCountWord(root)) === 0) {
      census.violations.push(`root ${hex(root)}: valid without a reference`);
    }
    if (valid && validRoles.has(role))
      census.violations.push(`root ${hex(root)}: second valid root of role ${hex(role)}`);
    if (valid) validRoles.add(role);
    checkEntries(mmu, cpu, census, root);
    root = nextRootOnList(mmu, cpu, root);
  }
}

function checkPossibleNxHugePages(mmu: TdpMmu, cpu: Cpu, census: Census): void {
  let length = 0;
  let sp = cpu.readOnce32(mmu.possibleNxHugePagesWord) as KvmMmuPage;
  for (; sp !== NULL_ADDRESS; sp = cpu.readOnce32(possibleNxNextWord(sp)) as KvmMmuPage) {
    length++;
    if (cpu.readOnce32(nxHugePageDisallowedWord(sp)) === 0) {
      census.violations.push(`table ${hex(sp)}: on possible_nx_huge_pages, yet not for the mitigation`);
    }
  }
  const counted = cpu.readOnce32(mmu.possibleNxCountWord);
  if (counted !== length) {
    census.violations.push(`possible_nx_huge_pages: ${counted} tables counted, ${length} found`);
  }
}

/**
 * Checks every invariant of a TDP MMU that can be seen at rest: nobody else may be running. Roots, links between tables and
 * descriptors, non-present values, writability, A/D types, access tracking, alignment, slots, the list of NX huge pages, and
 * the counters against a census. Reads every
 * entry of every table.
 *
 * @returns one sentence for each violation; empty if all is well
 */
export function checkTdpMmuInvariants(mmu: TdpMmu, cpu: Cpu): string[] {
  const census: Census = { violations: [], tables: 0, leaves: [] };
  checkRoots(mmu, cpu, census);
  checkPossibleNxHugePages(mmu, cpu, census);
  const pages = cpu.readOnce32(mmu.pagesWord);
  if (pages !== census.tables)
    census.violations.push(`tdp_mmu_pages is ${pages}, ${census.tables} tables are linked`);
  for (const level of [1, 2, 3] as const) {
    const counted = cpu.readOnce32(mmu.statistics.pageWord(level));
    const found = census.leaves[level] ?? 0;
    if (counted !== found)
      census.violations.push(`level ${level}: ${counted} leaves counted, ${found} found`);
  }
  return census.violations;
}
