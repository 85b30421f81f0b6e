import type { SpteFormat } from "../format/spte-format.js";
import type { SpteField } from "./spte-field.js";

/** Address bits 51:12 of an MMIO entry that hold the gfn in place, or hide or relocate part of it. */
function addressFields(format: SpteFormat): SpteField[] {
  const lower = format.shadowNonpresentOrRsvdLowerGfnMask;
  const hidden = format.shadowNonpresentOrRsvdMask;
  const gfnBits: SpteField = {
    name: hidden === 0n ? "gfn" : "gfn, low part",
    mask: lower,
    meaning: (value) => `frame number bits 0x${value.toString(16)}`,
  };
  if (hidden === 0n) return [gfnBits];
  return [
    gfnBits,
    { name: "L1TF guard", mask: hidden, meaning: () => "set to 1 so that the address lies beyond memory" },
    {
      name: "gfn, high part",
      mask: BigInt.asUintN(64, hidden << 5n),
      meaning: (value) => `the frame number bits that the guard hides: 0x${value.toString(16)}`,
    },
  ];
}

/** Fields of an MMIO entry; the marker bits come last because they may enclose others. */
export function mmioFields(format: SpteFormat): readonly SpteField[] {
  const { lowMask, highMask } = format.rules.mmioGeneration;
  const generationPart = (value: bigint): string => `0x${value.toString(16)}`;
  const fields: SpteField[] = [
    { name: "generation, high part", mask: highMask, meaning: generationPart },
    { name: "generation, low part", mask: lowMask, meaning: generationPart },
    ...addressFields(format),
    {
      name: "MMIO marker",
      mask: format.shadowMmioMask,
      meaning: () => "the combination by which MMIO entries are known",
    },
  ];
  if (format.shadowMmioAccessMask !== 0n) {
    fields.push({
      name: "access",
      mask: format.shadowMmioAccessMask,
      meaning: (value) => `cached access bits ${value}`,
    });
  }
  return fields;
}
