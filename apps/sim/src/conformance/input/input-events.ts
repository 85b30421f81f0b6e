import type { KvmEventName } from "@kvm-age/trace";
import type { OperationKind } from "./operation.js";

/** Events that are inputs of the MMU, for something outside calls it: they are replayed, not compared. */
export const INPUT_EVENTS: Readonly<Partial<Record<KvmEventName, OperationKind>>> = {
  kvm_page_fault: "fault",
  kvm_age_hva: "age",
  kvm_test_age_hva: "test-age",
  kvm_unmap_hva_range: "unmap",
};
