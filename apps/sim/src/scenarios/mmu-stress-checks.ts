import type { MmuStressResult } from "../results/mmu-stress-result.js";

type StressVcpu = MmuStressResult["vcpus"][number];

/** What a vCPU must have accessed: its chunk written twice, a page read after the reset, and what it counted itself. */
function expectedAccesses({ pages, readOnly, writable }: StressVcpu): number {
  const counted = readOnly.stores + readOnly.efaults + writable.stores + writable.efaults;
  return 2 * pages + 1 + pages + counted;
}

function vcpuFailures(vcpu: StressVcpu): string[] {
  const { pages, accesses, readOnly, writable } = vcpu;
  const found: readonly (readonly [boolean, string])[] = [
    [readOnly.efaults === 0, "no store to read-only memory ended in EFAULT"],
    [readOnly.lateStores > 0, `${readOnly.lateStores} stores succeeded after mprotect(PROT_READ)`],
    [
      (readOnly.stores + readOnly.efaults) % pages !== 0,
      `${readOnly.stores} stores and ${readOnly.efaults} EFAULTs are no whole rounds of ${pages} pages`,
    ],
    [writable.stores !== pages, `${writable.stores} of ${pages} pages could be written at the end`],
    [writable.lateEfaults > 0, `${writable.lateEfaults} EFAULTs after mprotect(PROT_READ | PROT_WRITE)`],
    [
      accesses !== expectedAccesses(vcpu),
      `the hardware counted ${accesses} accesses, the guest ${expectedAccesses(vcpu)}`,
    ],
  ];
  return found.filter(([failed]) => failed).map(([, text]) => `vCPU ${vcpu.vcpu}: ${text}`);
}

/** What the selftest asserts of EFAULT, and that the end leaves nothing behind. */
export function mmuStressFailedChecks({ vcpus, ending, slots }: MmuStressResult): string[] {
  const failures = vcpus.flatMap(vcpuFailures);
  if (ending === null) return failures;
  const { unmappedPages, residentPages, leakedPages } = ending;
  const expected = slots.pages - unmappedPages;
  if (residentPages !== expected)
    failures.push(`${residentPages} pages are mapped at the end instead of ${expected}`);
  if (leakedPages !== 0) failures.push(`${leakedPages} host pages are still in use after the exit`);
  return failures;
}
