import type { AgingPart } from "./aging-part.js";

/**
 * `kvm_age_gfn` and `kvm_test_age_gfn` as merged. Clearing must reach both MMUs: what one leaves set would look young in the next pass
 * (concern B42). A test knows enough once the TDP MMU says young.
 */
export function tdpFirst(tdp: AgingPart, shadow: AgingPart): AgingPart {
  return {
    age(cpu, range) {
      const young = tdp.age(cpu, range);
      return shadow.age(cpu, range) || young;
    },
    test: (cpu, range) => tdp.test(cpu, range) || shadow.test(cpu, range),
  };
}

/** The same before the series: rmaps first, and both MMUs for a test, too. */
export function shadowFirst(tdp: AgingPart, shadow: AgingPart): AgingPart {
  return {
    age(cpu, range) {
      const young = shadow.age(cpu, range);
      return tdp.age(cpu, range) || young;
    },
    test(cpu, range) {
      const young = shadow.test(cpu, range);
      return tdp.test(cpu, range) || young;
    },
  };
}
