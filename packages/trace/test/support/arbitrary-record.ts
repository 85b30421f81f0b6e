import fc from "fast-check";
import { KVM_EVENT_SHAPES, type KvmEventName, type TraceKernel, type TraceRecord } from "../../src/index.js";

const word64 = fc.bigInt(0n, 2n ** 64n - 1n);
const small = fc.nat(4095);

/** Fields whose values are narrower than their kind, whatever the event. */
const BY_FIELD: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  errno: fc.integer({ min: -4095, max: 0 }),
  type: fc.constantFrom("read", "write", "unsatisfied-read"),
  reason: fc.constantFrom("EPT_VIOLATION", "npf", "EXCEPTION_NMI FAILED_VMENTRY", "0x41"),
  pferr: fc.nat(0xffff_ffff),
  intr_info: fc.nat(0xffff_ffff),
};

const BY_KIND: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  number: fc.oneof(fc.nat(15), fc.maxSafeNat()),
  bigint: fc.oneof(word64, fc.bigInt(0n, 0xffn)),
  boolean: fc.boolean(),
};

/** Fields that a kernel does not print, and so reads as null. */
const NOT_PRINTED: Readonly<Record<TraceKernel, readonly string[]>> = {
  "linux-6.12": [
    "kvm_mmu_spte_requested.access",
    "kvm_entry.intr_info",
    "kvm_entry.error_code",
    "kvm_exit.requests",
  ],
  "linux-6.15": [
    "kvm_mmu_spte_requested.access",
    "kvm_entry.intr_info",
    "kvm_entry.error_code",
    "kvm_exit.requests",
  ],
  "linux-7.3": [],
};

function fieldOf(
  kernel: TraceKernel,
  event: KvmEventName,
  field: string,
  kind: string,
): fc.Arbitrary<unknown> {
  if (NOT_PRINTED[kernel].includes(`${event}.${field}`)) return fc.constant(null);
  if (field === "access" && "gen" in KVM_EVENT_SHAPES[event] && "quadrant" in KVM_EVENT_SHAPES[event]) {
    return fc.nat(kernel === "linux-7.3" ? 15 : 7);
  }
  if (field === "u" && kernel !== "linux-7.3") return fc.constantFrom(true, false, null);
  return BY_FIELD[field] ?? BY_KIND[kind.replace("|null", "")]!;
}

/** A name of a task as the kernel gives it: at most 15 bytes, blanks, dashes and brackets inside. */
const comm = fc
  .array(fc.constantFrom(..."abz09 -/:[]()<>._ü"), { minLength: 1, maxLength: 15 })
  .map((letters) => letters.join("").trim())
  .filter((text) => text !== "" && Buffer.byteLength(text) <= 15);

const origin = fc.record({
  line: fc.constant(1),
  comm,
  pid: fc.nat(4_194_304),
  cpu: fc.nat(8191),
  flags: fc.constantFrom(".....", "...1.", "d..2.", ".N.1.", "Dbh.f", "db.2."),
  timestampNs: fc
    .nat(2 ** 31 - 1)
    .chain((seconds) =>
      fc.nat(999_999).map((microseconds) => (seconds % 9_000_000) * 1e9 + microseconds * 1000),
    ),
});

/** A record of an event with any values that `kernel` can print. */
export function arbitraryKvmEvent(kernel: TraceKernel, name: KvmEventName): fc.Arbitrary<TraceRecord> {
  const shape: Readonly<Record<string, string>> = KVM_EVENT_SHAPES[name];
  const fields = fc.record(
    Object.fromEntries(
      Object.entries(shape).map(([field, kind]) => [field, fieldOf(kernel, name, field, kind)]),
    ),
  );
  return fc
    .tuple(origin, fields)
    .map(([from, values]) => ({ ...from, kind: "kvm", name, fields: values }) as unknown as TraceRecord);
}

/** Text of one line, as somebody may write it. */
const line = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => /^[^\n\r]*$/.test(text));

const note = fc
  .tuple(origin, line)
  .map(([from, text]): TraceRecord => ({ ...from, kind: "note", text: Buffer.from(text).toString() }));

const probe = fc
  .tuple(origin, fc.dictionary(fc.constantFrom("start", "end", "ret"), word64), fc.boolean())
  .map(
    ([from, args, decimal]): TraceRecord => ({
      ...from,
      kind: "probe",
      name: "age_gfn_ret",
      place: "kvm_mmu_notifier_clear_young+0x1bf/0x280 <- kvm_age_gfn",
      args: { ...args },
      decimalArgs: decimal ? Object.keys(args) : [],
    }),
  );

const other = fc
  .tuple(origin, fc.constantFrom("sched_switch", "mm_vmscan_kswapd_wake", "x"), small)
  .map(
    ([from, name, nid]): TraceRecord => ({ ...from, kind: "other", name, payload: `nid=${nid} order=0 ` }),
  );

/** A note, a probe, or an event of somebody else. */
export const arbitraryOtherRecord: fc.Arbitrary<TraceRecord> = fc.oneof(note, probe, other);
