import { readdirSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatTraceRecord, KVM_EVENT_SHAPES, parseTraceText, type TraceKernel } from "../../src/index.js";
import { type FormatField, type FormatFile, readFormatFile, renderFormat } from "../support/format-file.js";

const PREFIX = "           agevm-630     [000] ...1.     6.417831: ";

type Stored = Readonly<Record<string, bigint>>;

/** Fields whose name in the record is not that in the event. */
const RENAMED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  kvm_page_fault: { vcpu_id: "vcpu", guest_rip: "rip", fault_address: "address" },
  fast_page_fault: { vcpu_id: "vcpu", cr2_or_gpa: "gva" },
  kvm_mmu_get_page: { mmu_valid_gen: "gen", root_count: "root" },
  kvm_mmu_sync_page: { mmu_valid_gen: "gen", root_count: "root" },
  kvm_mmu_unsync_page: { mmu_valid_gen: "gen", root_count: "root" },
  kvm_mmu_prepare_zap_page: { mmu_valid_gen: "gen", root_count: "root" },
};

/** Values that an event cannot hold, though its field could: those that are not printed by themselves. */
const NARROWER: Readonly<Record<string, fc.Arbitrary<bigint>>> = {
  ret: fc.bigInt(0n, 6n),
  role: fc.constant(0n),
  vcpu_id: fc.bigInt(0n, 4095n),
  kvm_gen: fc.bigInt(0n, 3n),
  spte_gen: fc.bigInt(0n, 3n),
};

/** Any value of a stored field; below 2^53 where the record has a number. */
function storedValue(file: FormatFile, field: FormatField, kernel: TraceKernel): fc.Arbitrary<bigint> {
  const narrower = NARROWER[field.name];
  if (narrower !== undefined) return narrower;
  if (field.type === "bool" || field.name === "r" || field.name === "x") return fc.bigInt(0n, 1n);
  if (field.name === "u") return fc.bigInt(kernel === "linux-6.12" ? -1n : 0n, 1n);
  if (field.signed) return fc.bigInt({ min: field.name === "errno" ? -4095n : 0n, max: 4095n });
  const name = RENAMED[file.name]?.[field.name] ?? field.name;
  const shapes: Readonly<Record<string, Readonly<Record<string, string>>>> = KVM_EVENT_SHAPES;
  const bits = Math.min(field.size * 8, shapes[file.name]![name]!.startsWith("number") ? 53 : 64);
  return fc.bigInt(0n, 2n ** BigInt(bits) - 1n);
}

function storedFields(file: FormatFile, kernel: TraceKernel): fc.Arbitrary<Stored> {
  return fc.record(
    Object.fromEntries(file.fields.map((field) => [field.name, storedValue(file, field, kernel)])),
  );
}

/** The parts of a role that are printed. */
function roles(kernel: TraceKernel): fc.Arbitrary<Stored> {
  const flag = fc.bigInt(0n, 1n);
  return fc.record({
    level: fc.bigInt(1n, 5n),
    has_4_byte_gpte: flag,
    quadrant: fc.bigInt(0n, 3n),
    direct: flag,
    access: fc.bigInt(0n, kernel === "linux-7.3" ? 15n : 7n),
    invalid: flag,
    efer_nx: flag,
    ad_disabled: flag,
  });
}

/** What of a record follows from a role. */
function roleFields(role: Stored): Record<string, unknown> {
  return {
    level: Number(role.level),
    byte: role.has_4_byte_gpte === 1n ? 4 : 8,
    quadrant: Number(role.quadrant),
    direct: role.direct === 1n,
    access: Number(role.access),
    invalid: role.invalid === 1n,
    nxe: role.efer_nx === 1n,
    ad: role.ad_disabled === 0n,
  };
}

function asKind(kind: string, value: bigint): unknown {
  if (kind === "number" || kind === "number|null") return Number(value);
  if (kind === "bigint") return value;
  return kind === "boolean|null" && value === -1n ? null : value === 1n;
}

/** The record's fields that the stored ones must give. */
function expectedFields(file: FormatFile, stored: Stored, role: Stored): Record<string, unknown> {
  const kinds = (KVM_EVENT_SHAPES as Readonly<Record<string, Readonly<Record<string, string>>>>)[file.name]!;
  const expected: Record<string, unknown> = "role" in stored ? roleFields(role) : {};
  for (const [field, value] of Object.entries(stored)) {
    const name = RENAMED[file.name]?.[field] ?? field;
    if (name in kinds) expected[name] = asKind(kinds[name]!, value);
  }
  if (file.name === "fast_page_fault") {
    expected.spurious = stored.ret === 6n;
    expected.fixed = stored.ret === 5n;
  }
  if (file.name === "check_mmio_spte") expected.valid = stored.kvm_gen === stored.spte_gen;
  if (file.name === "kvm_mmu_spte_requested") expected.access ??= null;
  return expected;
}

describe.each(["linux-6.12", "linux-7.3"] as const)("the format files of %s", (kernel) => {
  const folder = new URL(`../fixtures/format/${kernel}/`, import.meta.url);
  const paths = readdirSync(folder, { recursive: true })
    .map(String)
    .filter((path) => path.endsWith(".format"));

  it("are 22", () => expect(paths).toHaveLength(22));

  it.each(paths)("%s: what the kernel prints is read as what it stored, and written again", (path) => {
    const file = readFormatFile(new URL(path, folder));
    const property = fc.property(storedFields(file, kernel), roles(kernel), (stored, role) => {
      const text = renderFormat(file, { REC: stored, role });
      const { records, report } = parseTraceText(`${PREFIX}${file.name}: ${text}\n`);
      expect(report.damaged.first).toEqual([]);
      expect(records[0]).toMatchObject({ kind: "kvm", name: file.name });
      expect((records[0] as { fields: unknown }).fields).toEqual(expectedFields(file, stored, role));
      const line = formatTraceRecord(records[0]!, { kernel, form: "trace" });
      expect(line).toBe(`${PREFIX}${file.name}: ${text}`);
    });
    fc.assert(property, { numRuns: 200 });
  });
});
