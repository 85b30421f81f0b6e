import type { Cpu } from "@kvm-age/machine";
import { createShadowMmu, noOtherMmu, type ShadowMmuMachine } from "@kvm-age/shadow-mmu";
import { createTdpMmu } from "@kvm-age/tdp-mmu";
import { KVM_AGING_POLICIES, mmuAgingOptions } from "../../aging/aging-policies.js";
import { attachVmMmus, type VmMmuParts, type VmMmus } from "../../vm/vm-mmus.js";
import type { ModelConfig } from "./model-config.js";

/** The MMUs of the recorded kernel's VM: like there, the shadow MMU stands by for nested guests where the TDP MMU maps the rest. */
export function createModelMmus(
  cpu: Cpu,
  machine: ShadowMmuMachine,
  parts: VmMmuParts,
  config: ModelConfig,
): VmMmus {
  const { format, tdpMmu, tuning } = config;
  const { proveMmu, ...common } = tuning;
  const policy = KVM_AGING_POLICIES[config.policy];
  const tdpOptions = { ...mmuAgingOptions(policy.tdp), ...common, proveMmu };
  const shadowOptions = { ...mmuAgingOptions(policy.shadow), ...common };
  const shadow = createShadowMmu(
    cpu,
    machine,
    { ...parts, otherMmu: noOtherMmu },
    { format, options: shadowOptions },
  );
  const tdp = tdpMmu ? createTdpMmu(cpu, machine, parts, { format, options: tdpOptions }).handle : null;
  return attachVmMmus(machine, { tdp, shadow: shadow.handle }, parts);
}
