import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import { KVM_PFN_NOSLOT, type KvmEvent, type ProbeRecord, type TraceRecord } from "@kvm-age/trace";
import type { ModelSlot } from "../model/model-config.js";

const PAGE_BYTES = 4096;
const PAGES_PER_2M = 512;
/** Guest pages that are further apart than this are taken for memory of different slots. */
const SLOT_GAP_PAGES = 1 << 15;
/** Where memory is put whose owner's address the trace never shows. */
const UNKNOWN_HVA = 0x100000000000;

/** Pages of one slot, as far as the trace shows them. */
interface Region {
  readonly first: number;
  readonly last: number;
  /** Host page minus guest page, null if no notifier ever spoke of the region. */
  readonly delta: number | null;
}

/**
 * The slots of a VM whose trace has no notes, from the pages that it maps and from what the notifier's calls, which name host addresses, did
 * to which guest pages. Their borders are guesses; memory outside what the trace shows makes no difference to what it shows.
 */
export function inferSlots(records: readonly TraceRecord[]): ModelSlot[] {
  const known = findRegions(mappedGfns(records), hostOffsets(records));
  const unmappings = wholeUnmappings(records);
  const regions = known.map((region) => (region.delta === null ? withUnmapping(region, unmappings) : region));
  const slots: ModelSlot[] = [];
  for (const region of regions) {
    const lowest = slots.length === 0 ? 0 : slots.at(-1)!.gfn + slots.at(-1)!.pages;
    slots.push(slotOf(region, slots.length, lowest, regions[slots.length + 1]?.first));
  }
  return slots;
}

/** Guest pages that are mapped, or that are guest page tables which are shadowed. */
function mappedGfns(records: readonly TraceRecord[]): number[] {
  const gfns = new Set<number>();
  for (const record of records) {
    if (record.kind !== "kvm") continue;
    if (record.name === "kvm_mmu_spte_requested" && record.fields.pfn !== KVM_PFN_NOSLOT)
      gfns.add(record.fields.gfn);
    if (record.name === "kvm_mmu_set_spte") gfns.add(record.fields.gfn);
    if (record.name === "kvm_mmu_get_page" && !record.fields.direct) gfns.add(record.fields.gfn);
  }
  return [...gfns].sort((one, other) => one - other);
}

/** A notifier's call of which nothing yet tells the guest pages. */
interface OpenCall {
  readonly start: number;
  readonly end: number;
  /** Aging leaves every entry present. */
  readonly ages: boolean;
}

/** Host page minus guest page, by guest page. The first call that names a page is believed. */
function hostOffsets(records: readonly TraceRecord[]): Map<number, number> {
  const offsets = new Map<number, number>();
  const calls = new Map<number, OpenCall>();
  for (const record of records) {
    const begun = callOf(record);
    if (begun !== null) {
      calls.set(record.pid, begun);
      continue;
    }
    const call = calls.get(record.pid);
    const gfn = call === undefined ? null : gfnOfCall(record, call);
    if (gfn !== null && !offsets.has(gfn)) offsets.set(gfn, Math.floor(call!.start / PAGE_BYTES) - gfn);
    if (gfn !== null || endsCall(record)) calls.delete(record.pid);
  }
  return offsets;
}

function callOf(record: TraceRecord): OpenCall | null {
  if (record.kind !== "kvm") return null;
  if (record.name !== "kvm_age_hva" && record.name !== "kvm_unmap_hva_range") return null;
  return { ...record.fields, ages: record.name === "kvm_age_hva" };
}

/** The guest page at the start of a call's range, if a record that follows the call tells it. */
function gfnOfCall(record: TraceRecord, { start, end, ages }: OpenCall): number | null {
  const pages = Math.ceil(end / PAGE_BYTES) - Math.floor(start / PAGE_BYTES);
  if (record.kind === "probe") return gfnOfProbe(record, pages);
  if (record.kind !== "kvm" || record.name !== "kvm_tdp_mmu_spte_changed") return null;
  const { gfn, level, new_spte } = record.fields;
  if (ages && !isShadowPresentPte(new_spte as Spte)) return null;
  if (pages === PAGES_PER_2M ** (level - 1)) return gfn;
  // What the owner has as a huge page lies alike in its and in the guest's memory.
  return level === 1 && pages === PAGES_PER_2M ? gfn - (gfn % PAGES_PER_2M) : null;
}

/** The handler's range is the call's, if it is as long. */
function gfnOfProbe({ name, args }: ProbeRecord, pages: number): number | null {
  if (name !== "age_gfn" && name !== "unmap_gfn" && name !== "test_age_gfn") return null;
  return Number(args.end! - args.start!) === pages ? Number(args.start) : null;
}

/** What one invalidation zapped. */
interface Unmapping {
  readonly start: number;
  readonly pages: number;
  readonly gfns: readonly number[];
}

function wholeUnmappings(records: readonly TraceRecord[]): Unmapping[] {
  const unmappings: Unmapping[] = [];
  const open = new Map<number, number[]>();
  for (const record of records) {
    if (record.kind !== "kvm") continue;
    if (record.name === "kvm_unmap_hva_range") {
      const gfns: number[] = [];
      open.set(record.pid, gfns);
      const { start, end } = record.fields;
      unmappings.push({ start, pages: Math.ceil((end - start) / PAGE_BYTES), gfns });
    } else if (record.name === "kvm_tdp_mmu_spte_changed") open.get(record.pid)?.push(record.fields.gfn);
    else open.delete(record.pid);
  }
  return unmappings.filter(({ gfns }) => gfns.length > 0);
}

/** An owner that gives a slot's memory back as a whole names its address: the range is taken to begin where the slot does. */
function withUnmapping(region: Region, unmappings: readonly Unmapping[]): Region {
  const base = region.first - (region.first % PAGES_PER_2M);
  const unmapping = unmappings.find(
    ({ gfns, pages }) => gfns.every((gfn) => gfn >= base && gfn <= region.last) && base + pages > region.last,
  );
  return unmapping === undefined
    ? region
    : { ...region, delta: Math.floor(unmapping.start / PAGE_BYTES) - base };
}

function endsCall(record: TraceRecord): boolean {
  return record.kind === "kvm" && (record as KvmEvent).name === "kvm_page_fault";
}

function findRegions(gfns: readonly number[], offsets: ReadonlyMap<number, number>): Region[] {
  const regions: Region[] = [];
  for (const gfn of gfns) {
    const delta = offsets.get(gfn) ?? null;
    const before = regions.at(-1);
    const near = before !== undefined && gfn - before.last <= SLOT_GAP_PAGES;
    const agrees = before === undefined || before.delta === null || delta === null || before.delta === delta;
    if (near && agrees)
      regions[regions.length - 1] = { first: before.first, last: gfn, delta: before.delta ?? delta };
    else regions.push({ first: gfn, last: gfn, delta });
  }
  return regions;
}

/** A slot that covers a region, out to 2 MiB borders where no other region is in the way. */
function slotOf(
  region: Region,
  slot: number,
  lowest: number,
  highest: number = Number.POSITIVE_INFINITY,
): ModelSlot {
  const gfn = Math.max(lowest, region.first - (region.first % PAGES_PER_2M));
  const end = Math.min(highest, (Math.floor(region.last / PAGES_PER_2M) + 1) * PAGES_PER_2M);
  const hva = region.delta === null ? UNKNOWN_HVA + gfn * PAGE_BYTES : (gfn + region.delta) * PAGE_BYTES;
  return { slot, gfn, hva, pages: end - gfn };
}
