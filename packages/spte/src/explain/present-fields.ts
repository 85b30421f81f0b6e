import { VMX_EPT_IPAT_BIT, VMX_EPT_MT_MASK, VMX_EPT_SUPPRESS_VE_BIT } from "../format/hardware-bits.js";
import { SPTE_MMU_PRESENT_MASK } from "../format/spte-constants.js";
import type { SpteFormat } from "../format/spte-format.js";
import type { RuleSet } from "../rules/rule-set.js";
import { flagField, type SpteField } from "./spte-field.js";

const MEMORY_TYPES: readonly string[] = [
  "uncacheable",
  "write combining",
  "reserved type",
  "reserved type",
  "write through",
  "write protected",
  "write back",
  "reserved type",
];

function adTypeMeaning(rules: RuleSet, value: bigint): string {
  const inPlace = value * (rules.spteTdpAdMask & -rules.spteTdpAdMask);
  if (inPlace === 0n) return "the CPU maintains A and D";
  if (inPlace === rules.spteTdpAdDisabled) {
    return rules.softwareAdBits ? "KVM maintains A and D in software" : "nobody maintains A and D";
  }
  if (inPlace === rules.spteTdpAdWrprotOnly) return "the CPU maintains A and D; dirty logging write-protects";
  return "not a value KVM writes";
}

/** A and D, if the format has them: without A/D hardware not every kernel keeps them. */
function adFields({ shadowAccessedMask, shadowDirtyMask }: SpteFormat): SpteField[] {
  if (shadowAccessedMask === 0n) return [];
  return [
    flagField("A", shadowAccessedMask, "used since last aged", "not used since last aged"),
    flagField("D", shadowDirtyMask, "dirty", "clean"),
  ];
}

/** Bits that every layout has, at the places the format gives. */
function commonFields(format: SpteFormat): SpteField[] {
  const { rules } = format;
  return [
    ...adFields(format),
    flagField("W", 2n, "writable", "not writable"),
    flagField("page size", 0x80n, "maps a huge page", "4 KiB page, or points to a table"),
    flagField("MMU-present", SPTE_MMU_PRESENT_MASK, "shadow-present", "not shadow-present"),
    {
      name: "pfn",
      mask: format.spteBaseAddrMask,
      meaning: (value) => `host-physical address 0x${(value << 12n).toString(16)}`,
    },
    { name: "A/D type", mask: rules.spteTdpAdMask, meaning: (value) => adTypeMeaning(rules, value) },
    flagField(
      "Host-writable",
      format.shadowHostWritableMask,
      "the host mapping allows writes",
      "the host mapping is read-only",
    ),
    flagField(
      "MMU-writable",
      format.shadowMmuWritableMask,
      "KVM may set W without mmu_lock",
      "KVM may not set W without mmu_lock",
    ),
  ];
}

/** Places where access tracking keeps the permissions it took away. */
function savedFields(format: SpteFormat): SpteField[] {
  const { accTrackSavedBitsMask, accTrackSavedBitsShift } = format.rules;
  const candidates: readonly [string, bigint][] = [
    ["R", 1n],
    ["X", format.shadowXsMask],
    ["XU", format.shadowXuMask],
  ];
  return candidates
    .filter(([, bit]) => (bit & accTrackSavedBitsMask) !== 0n)
    .map(([name, bit]) =>
      flagField(
        `saved ${name}`,
        bit << accTrackSavedBitsShift,
        `${name} returns on restore`,
        "nothing saved",
      ),
    );
}

function eptFields(format: SpteFormat): SpteField[] {
  const userExecute = flagField("XU", format.shadowXuMask, "user-executable", "not user-executable");
  return [
    flagField("R", 1n, "readable", "not readable"),
    flagField("X", format.shadowXsMask, "executable", "not executable"),
    ...(format.shadowXuMask === 0n ? [] : [userExecute]),
    {
      name: "memory type",
      mask: VMX_EPT_MT_MASK,
      meaning: (value) => MEMORY_TYPES[Number(value)]!,
    },
    flagField("IPAT", VMX_EPT_IPAT_BIT, "the guest's PAT is ignored", "the guest's PAT counts"),
    flagField("suppress #VE", VMX_EPT_SUPPRESS_VE_BIT, "violations exit to KVM", "violations may raise #VE"),
    ...savedFields(format),
  ];
}

function defaultFields(format: SpteFormat): SpteField[] {
  return [
    flagField("P", 1n, "present for the CPU", "not present for the CPU"),
    flagField("U", format.shadowUserMask, "user accesses allowed", "supervisor only"),
    flagField("PWT", 8n, "write through", "write back by this bit"),
    flagField("PCD", 0x10n, "cache disabled", "cacheable by this bit"),
    flagField("G", 0x100n, "global", "not global"),
    flagField("NX", format.shadowNxMask, "not executable", "executable"),
    ...(format.host.smeMeMask === 0n
      ? []
      : [flagField("C", format.host.smeMeMask, "encrypted memory", "memory not encrypted")]),
  ];
}

/** Fields of a shadow-present entry of this format, from bit 63 down. */
export function presentFields(format: SpteFormat): readonly SpteField[] {
  const layout = format.mode === "ept" ? eptFields(format) : defaultFields(format);
  return [...commonFields(format), ...layout].sort((a, b) => (a.mask < b.mask ? 1 : -1));
}
