import { describe, expect, test } from "vitest";
import { checkTrace, identifyTrace, type LegalityReport, parseTraceText } from "../../src/index.js";
import { traceFixture } from "../support/trace-fixture.js";
import { changed, line, recordsOf } from "../support/trace-lines.js";

const THP = parseTraceText(traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz")).records;
const NPT = identifyTrace(THP);
const EMPTY = "8000000000000000";
const TABLE = "10248c827";

function page(gfn: number, level: number): string {
  return `sp gen 0 gfn ${gfn.toString(16)} l${level} 8-byte q0 direct rwux nxe ad root 0 sync`;
}

function zapped(gfn: number, level: number): string {
  return line(`kvm_mmu_prepare_zap_page: ${page(gfn, level)}`);
}

function created(gfn: number, level: number): string {
  return line(`kvm_mmu_get_page: ${page(gfn, level)} new`);
}

function mapped(gfn: number, spte: string, sptep: string): readonly string[] {
  const [at, pfn] = [gfn.toString(16), spte.slice(0, -3)];
  return [
    line(`kvm_mmu_spte_requested: gfn ${at} pfn ${pfn} level 1 access f`),
    line(`kvm_mmu_set_spte: gfn ${at} spte ${spte} (rwxu) level 1 at ${sptep}`),
  ];
}

function faulted(pid: number, vcpu = 0): string {
  const fault = `vcpu ${vcpu} rip 0x1000 address 0x0000000000002000 error_code 0x200000006`;
  return line(`kvm_page_fault: ${fault}`, { pid });
}

/** Judges the lines as a trace that stands for itself. */
function judged(...lines: readonly string[]): LegalityReport {
  const records = recordsOf(...lines);
  return checkTrace(records, identifyTrace(records));
}

function rulesOf({ violations }: LegalityReport): readonly string[] {
  return violations.map(({ rule }) => rule);
}

describe("events that were not enabled", () => {
  test("without those of page-table pages, the memory of a table may be another's later", () => {
    const moved = [...mapped(2, "100a1be67", "10b3fe010"), ...mapped(3, "100a1ce67", "10c3fe018")];
    expect(judged(...moved).violations).toEqual([]);
    expect(rulesOf(judged(created(0, 1), ...moved))).toEqual(["sptep-is-the-entry"]);
  });

  test("without that of zapped pages, entries of unlinked tables become frozen out of nowhere", () => {
    const tree = [created(0, 4), created(0, 3), changed(0, 4, EMPTY, TABLE)];
    const torn = changed(0, 2, "10b3fe827", NPT.format.frozenSpte.toString(16));
    expect(checkTrace(recordsOf(...tree, torn), NPT).violations).toEqual([]);
    expect(rulesOf(checkTrace(recordsOf(...tree, zapped(0, 3), torn), NPT))).not.toEqual([]);
  });

  test.each(["kvm_tdp_mmu_spte_changed", "kvm_age_hva"])("a real trace without %s", (name) => {
    const rest = THP.filter((record) => !(record.kind === "kvm" && record.name === name));
    expect(checkTrace(rest, identifyTrace(rest)).violations).toEqual([]);
  });
});

describe("a trace that begins in the middle", () => {
  test("does not show which tables there are", () => {
    const torn = [faulted(7), zapped(0x40000, 1)];
    expect(checkTrace(recordsOf(...torn), NPT).violations).toEqual([]);
    const later = [...torn, created(0, 4), created(0, 3), changed(0, 4, EMPTY, TABLE), zapped(0x40000, 1)];
    expect(checkTrace(recordsOf(...later), NPT).violations).toEqual([]);
  });

  test("shows walks of a guest that runs before the root of another tree is created", () => {
    const walked = line("kvm_mmu_pagetable_walk: addr 401000 pferr 10 F");
    const tree = [created(0, 4), created(0, 3), changed(0, 4, EMPTY, TABLE)];
    const torn = zapped(0x40000, 1);
    expect(checkTrace(recordsOf(walked, ...tree, torn), NPT).violations).toEqual([]);
    expect(rulesOf(checkTrace(recordsOf(...tree, torn), NPT))).toEqual(["zapped-page-was-in-use"]);
  });

  test("and shows no SPTE: the TDP MMU is assumed, and nothing is judged by its rules", () => {
    const torn = [created(0, 4), zapped(0x40000, 1), zapped(0, 2)];
    const records = recordsOf(...torn);
    expect(identifyTrace(records).evidence).toContain("TDP MMU: assumed, no SPTE is set in this trace");
    expect(judged(...torn).violations).toEqual([]);
  });
});

describe("several VMs in one trace", () => {
  test("show in a vCPU that two tasks run in turn", () => {
    const turns = [7, 9, 9, 7, 9, 7].map((pid) => faulted(pid));
    expect(judged(...turns).sharedVcpu).toEqual({ vcpu: 0, pids: [7, 9] });
    expect(judged(...turns.slice(0, -1)).sharedVcpu).toBeNull();
  });

  test("are not seen in one VM after another, nor in vCPUs of one VM", () => {
    expect(judged(...[7, 7, 8, 8, 9, 9].map((pid) => faulted(pid))).sharedVcpu).toBeNull();
    const vcpus = [7, 9, 7, 9, 7, 9, 7].map((pid) => faulted(pid, pid === 7 ? 0 : 1));
    expect(judged(...vcpus).sharedVcpu).toBeNull();
  });
});

test("no violation names a line before the first: the creation of a table is none", () => {
  const tree: readonly string[] = [created(0, 4), created(0, 3), changed(0, 4, EMPTY, TABLE)];
  const note = (spte: string): string =>
    line(`tracing_mark_write: agevm: spte level=3 gfn=0 sptep=10248c000 val=${spte} x`);
  const report = checkTrace(recordsOf(...tree, note("10b3fe827"), note("10b3fe827")), NPT);
  expect(report.violationCount).toBeGreaterThan(0);
  for (const violation of report.violations) {
    expect(violation.line).toBeGreaterThan(0);
    expect(violation.contradicts).not.toBe(0);
    expect(violation.detail).not.toContain("line 0");
  }
});
