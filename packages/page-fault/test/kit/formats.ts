import { createSpteFormat, linux73, linux615, type SpteFormat } from "@kvm-age/spte";

interface NamedFormat {
  readonly name: string;
  readonly format: SpteFormat;
}

/** The formats of direct maps: two kernels, two vendors, with and without hardware A/D bits. */
export const FORMATS: readonly NamedFormat[] = (
  [
    ["7.3", linux73],
    ["6.15", linux615],
  ] as const
).flatMap(([name, ruleSet]) => [
  { name: `${name} EPT`, format: createSpteFormat({ mode: "ept", ruleSet }) },
  { name: `${name} EPT without A/D bits`, format: createSpteFormat({ mode: "ept", adBits: false, ruleSet }) },
  { name: `${name} NPT`, format: createSpteFormat({ mode: "npt", ruleSet }) },
]);

export const WITHOUT_AD: readonly NamedFormat[] = FORMATS.filter(({ format }) => !format.kvmAdEnabled);
export const WITH_AD: readonly NamedFormat[] = FORMATS.filter(({ format }) => format.kvmAdEnabled);
