import type { Cpu } from "@kvm-age/machine";
import type { KvmMmuPageRole } from "@kvm-age/spte";
import type { KvmCpuRole } from "../role/kvm-cpu-role.js";
import type { KvmMmu, MmuKind } from "./kvm-mmu.js";

/** What `shadow_mmu_init_context` and its relatives store. */
export interface ContextMode {
  readonly kind: MmuKind;
  readonly cpuRole: KvmCpuRole;
  readonly rootRole: KvmMmuPageRole;
  /** Guest root in bytes with its flag bits: CR3, nCR3 or EPTP. An integer in [0, 2^53). */
  readonly guestPgd: number;
}

/** Sets a context up. The roots it has were made for the roles before: the caller frees them, or switches to others. */
export function initContext(cpu: Cpu, context: KvmMmu, mode: ContextMode): void {
  cpu.writeOnce32(context.kindWord, mode.kind);
  cpu.writeOnce(context.cpuRoleWord, mode.cpuRole);
  cpu.writeOnce32(context.rootRoleWord, mode.rootRole);
  cpu.writeOnce(context.guestPgdWord, BigInt(mode.guestPgd));
}
