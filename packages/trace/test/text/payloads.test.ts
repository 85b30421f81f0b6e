import { describe, expect, it } from "vitest";
import {
  formatTraceRecord,
  parseTraceText,
  type TraceRecord,
  UnwritableRecordError,
} from "../../src/index.js";

const PREFIX = "         kswapd0-112     [012] ...1.  2412.104001: ";

function read(event: string): TraceRecord {
  const { records, report } = parseTraceText(`${PREFIX}${event}\n`);
  expect(report.damaged.first).toEqual([]);
  return records[0]!;
}

function fieldsOf(event: string): unknown {
  const record = read(event);
  expect(record.kind).toBe("kvm");
  return record.kind === "kvm" ? record.fields : null;
}

function reasonOf(event: string): string | undefined {
  const { records, report } = parseTraceText(`${PREFIX}${event}\n`);
  expect(records).toEqual([]);
  return report.damaged.first[0]?.reason;
}

describe("other ways to print an event", () => {
  it("a fault outside every slot has no pfn: KVM_PFN_NOSLOT stands there, and is written back", () => {
    const text = "kvm_mmu_spte_requested: gfn fee00 pfn 8000000000000000 level 1 access f";
    expect(fieldsOf(text)).toEqual({ gfn: 0xfee00, pfn: 2 ** 63, level: 1, access: 15 });
    expect(formatTraceRecord(read(text), { kernel: "linux-7.3", form: "trace" })).toContain(text);
    expect(reasonOf(text.replace("8000000000000000", "8000000000000001"))).toContain("at most 2^53 - 1");
  });

  it("trace-cmd's plugin prints pages in words of its own", () => {
    const page = { gfn: 0x1a2c00, level: 1, quadrant: 0, access: 7, byte: 8, nxe: true, root: 0 };
    const rest = { gen: null, ad: null, unsync: false };
    const plugin = "sp gfn 1a2c00 1 q0 direct wux pae nxe !wp root 0 sync";
    const direct = { ...page, ...rest, direct: true, invalid: false };
    expect(fieldsOf(`kvm_mmu_get_page: new ${plugin}`)).toEqual({ ...direct, created: true });
    expect(fieldsOf(`kvm_mmu_get_page: existing ${plugin}`)).toEqual({ ...direct, created: false });
    expect(
      fieldsOf("kvm_mmu_sync_page: sp gfn 7f31 2 q3 wux invalid !pae !nxe wp smep smap smm root 2 unsync"),
    ).toEqual({
      ...{ gen: null, gfn: 0x7f31, level: 2, byte: 4, quadrant: 3, direct: false, access: 7, invalid: true },
      ...{ nxe: false, ad: null, root: 2, unsync: true },
    });
  });

  it("zero has no prefix in trace-cmd", () => {
    const fault = "vcpu 0 gva 0 error_code W sptep (nil) old 0 new 0 spurious 0 fixed 0";
    expect(fieldsOf(`fast_page_fault: ${fault}`)).toMatchObject({ old_spte: 0n, sptep: 0n });
    expect(fieldsOf("kvm_age_hva: mmu notifier age hva: 0000000000000000 -- 0x00000000001000")).toEqual({
      start: 0,
      end: 4096,
    });
  });

  it.each(["0000000012345678", "0x12345678", "0xffff888012345678", "(____ptrval____)"])(
    "pointer %s",
    (pointer) => {
      const sptep = pointer.startsWith("(") ? 0n : BigInt(`0x${pointer.replace("0x", "")}`);
      expect(fieldsOf(`mark_mmio_spte: sptep:${pointer} gfn fe000 access 6 gen 1c`)).toMatchObject({ sptep });
    },
  );

  it("the u letter may be missing, a dash, or there", () => {
    for (const [letters, u] of [
      ["rwx", null],
      ["rwx-", false],
      ["rwxu", true],
    ] as const) {
      expect(fieldsOf(`kvm_mmu_set_spte: gfn 1 spte 3 (${letters}) level 1 at 1000`)).toMatchObject({ u });
    }
  });

  it.each([
    ["", 0n],
    ["P|W|U", 7n],
    ["P|PK|SS|SGX|RSVD|F", 0x8079n],
    ["W|0x200000000", 0x2_0000_0002n],
    ["0x8000000000000000", 0x8000_0000_0000_0000n],
  ])("error code %j", (names, error_code) => {
    const fault = `vcpu 0 gva 1000 error_code ${names} sptep 00000000c1d2e3f4 old 0x1 new 2 spurious 0 fixed 1`;
    expect(fieldsOf(`fast_page_fault: ${fault}`)).toMatchObject({ error_code });
  });

  it("the blank in front of no error-code names may have been lost", () => {
    expect(fieldsOf("kvm_mmu_walker_error: pferr 0 ")).toEqual({ pferr: 0 });
    expect(fieldsOf("kvm_mmu_walker_error: pferr 0")).toEqual({ pferr: 0 });
  });

  it("entry and exit of 6.12, of 7.3, and of trace-cmd's plugin", () => {
    const exit = { vcpu: 3, reason: "npf", rip: 0x40213bn, info1: 6n, info2: 0x1000n };
    const none = { intr_info: null, error_code: null, requests: null };
    const info =
      "info1 0x0000000000000006 info2 0x0000000000001000 intr_info 0x00000000 error_code 0x00000002";
    const words = { intr_info: 0, error_code: 2 };
    expect(fieldsOf("kvm_exit: vcpu 3 reason npf rip 0x40213b info 6 1000")).toEqual({ ...exit, ...none });
    expect(fieldsOf(`kvm_exit: vcpu 3 reason npf rip 0x40213b ${info}`)).toEqual({
      ...exit,
      ...words,
      requests: null,
    });
    expect(fieldsOf(`kvm_exit: vcpu 3 reason npf rip 0x40213b ${info} requests 0x0000000000000010`)).toEqual({
      ...exit,
      ...words,
      requests: 0x10n,
    });
    expect(fieldsOf("kvm_entry: vcpu 3, rip 0x40213b[immediate exit]")).toMatchObject({
      immediate_exit: true,
    });
    expect(fieldsOf("kvm_entry: vcpu 3, rip 0x40213b intr_info 0x80000b0e error_code 0x00000002")).toEqual({
      ...{ vcpu: 3, rip: 0x40213bn, intr_info: 0x80000b0e, error_code: 2, immediate_exit: false },
    });
  });
});

describe("notes, probes and the rest", () => {
  it.each([
    ["tracing_mark_write:   two blanks first, one last ", "  two blanks first, one last "],
    ["print:                tracing_mark_write: hello: world", "hello: world"],
    ["bprint:               kvm_age_gfn: young 1", "young 1"],
    ["ftrace:print: tracing_mark_write: hello", "hello"],
    ["print: nobody said who", "nobody said who"],
  ])("note %j", (event, text) => expect(read(event)).toMatchObject({ kind: "note", text }));

  it("arguments of probes: hexadecimal, decimal, negative, and none that are no integers", () => {
    const probe =
      '(vfs_read+0x0/0x10 <- ksys_read) a=0xffffffffffffffff b=-12 c=7 d="some" e=18446744073709551615 f=0xg';
    expect(read(`my_probe: ${probe}`)).toMatchObject({
      kind: "probe",
      place: "vfs_read+0x0/0x10 <- ksys_read",
      args: { a: 2n ** 64n - 1n, b: -12n, c: 7n, e: 2n ** 64n - 1n },
      decimalArgs: ["b", "c", "e"],
    });
  });

  it("everything else keeps its text", () => {
    expect(read("sched_wakeup: comm=kswapd0 pid=112 ")).toMatchObject({
      ...{ kind: "other", name: "sched_wakeup", payload: "comm=kswapd0 pid=112 " },
    });
    expect(read("x: (no probe")).toMatchObject({ kind: "other", payload: "(no probe" });
    expect(read("x: (no) probe either")).toMatchObject({ kind: "other", payload: "(no) probe either" });
  });
});

describe("damage", () => {
  it.each([
    ["kvm_age_hva: mmu notifier age hva: 0x007f3a5c642000 - 0x007f3a5c643000", '" -- " in column 103'],
    ["kvm_age_hva: mmu notifier age hva: 0x007f3a5c642000 -- 0x007f3a5c643000 ", "the end of the line"],
    ["kvm_age_hva: mmu notifier age hva: 0x007f3a5c642000", '" -- "'],
    ["kvm_age_hva: ", '"mmu notifier age hva: "'],
    ["kvm_test_age_hva: mmu notifier test age hva: 0x20000000000000", "at most 2^53 - 1"],
    ["kvm_mmu_paging_element: pte 12345678123456789 level 1", "at most 16 hexadecimal digits"],
    ["kvm_mmu_paging_element: pte 10 level x", "a decimal number"],
    ["kvm_mmu_paging_element: pte XYZ level 1", "a hexadecimal number"],
    ["kvm_mmu_set_spte: gfn 1 spte 3 (rwz) level 1 at 1000", '"-"'],
    ["kvm_mmu_walker_error: pferr 7 P|Q", "names of error-code bits"],
    [
      "kvm_mmu_prepare_zap_page: sp gen 1 gfn 7f31 l1 8-byte q0 ruwx nxe ad root 0 sync",
      "3 or 4 letters of access",
    ],
    [
      "kvm_mmu_prepare_zap_page: [FAILED TO PARSE] mmu_valid_gen=0 gfn=0x12 role=2561",
      "whoever rendered this",
    ],
    ["check_mmio_spte: spte fe0000e6 kvm_gen 1c spte-gen 1c valid 2", '"0"'],
  ])("%s", (event, reason) => expect(reasonOf(event)).toContain(reason));
});

describe("what cannot be written", () => {
  const origin = { line: 0, comm: "x", pid: 1, cpu: 0, flags: ".....", timestampNs: 0 };
  const layout = { kernel: "linux-7.3", form: "trace" } as const;

  it("fields that are null", () => {
    const fields = { gfn: 1, pfn: 2, level: 1, access: null };
    const record: TraceRecord = { ...origin, kind: "kvm", name: "kvm_mmu_spte_requested", fields };
    expect(() => formatTraceRecord(record, layout)).toThrow(UnwritableRecordError);
    expect(formatTraceRecord(record, { kernel: "linux-6.15", form: "trace" })).toContain(
      "gfn 1 pfn 2 level 1",
    );
  });

  it("access that a kernel has no letters for", () => {
    const page = read("kvm_mmu_sync_page: sp gen 1 gfn 7f31 l1 8-byte q0 rwux nxe !ad root 0 unsync");
    expect(() => formatTraceRecord(page, { kernel: "linux-6.12", form: "trace" })).toThrow(
      "page of page tables: access 15 has no text; it must be an integer in [0, 7]",
    );
  });

  it("notes of two lines", () => {
    const note: TraceRecord = { ...origin, kind: "note", text: "one\ntwo" };
    expect(() => formatTraceRecord(note, layout)).toThrow("one line");
  });
});
