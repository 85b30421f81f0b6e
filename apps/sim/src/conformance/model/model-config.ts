import type { GuestPagingRegisters } from "@kvm-age/shadow-mmu";
import type { SpteFormat } from "@kvm-age/spte";
import type { KVM_AGING_POLICIES } from "../../aging/aging-policies.js";
import type { KernelTuning } from "../input/infer-tuning.js";

/** What of the recorded kernel the model must share. */
export interface ModelConfig {
  readonly format: SpteFormat;
  /** Whether the TDP MMU maps guests that are not nested (`tdp_mmu`). */
  readonly tdpMmu: boolean;
  readonly policy: keyof typeof KVM_AGING_POLICIES;
  readonly tuning: KernelTuning;
  /** The guest's paging registers, of all its vCPUs. */
  readonly paging: GuestPagingRegisters;
}

/** A slot, as it is set with `KVM_SET_USER_MEMORY_REGION`. */
export interface ModelSlot {
  readonly slot: number;
  readonly gfn: number;
  readonly hva: number;
  readonly pages: number;
}
