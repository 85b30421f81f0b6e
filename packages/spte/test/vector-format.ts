import {
  kvmMmuResetAllPteMasks,
  kvmMmuSetEptMasks,
  kvmMmuSetMeSpteMask,
  kvmMmuSetMmioSpteMask,
  type RuleSet,
  type SpteFormat,
} from "../src/index.js";
import type { SetUp } from "./vector-file.js";

/** Applies one recorded set-up call. */
function applyCall(format: SpteFormat, call: SetUp["calls"][number]): SpteFormat {
  const [name, ...args] = call;
  const big = (index: number): bigint => BigInt(args[index] as string | number);
  switch (name) {
    case "kvm_mmu_set_ept_masks":
      return kvmMmuSetEptMasks(format, args[0] === true, args[1] === true);
    case "kvm_mmu_set_me_spte_mask":
      return kvmMmuSetMeSpteMask(format, big(0), big(1));
    case "kvm_mmu_set_mmio_spte_mask":
      return kvmMmuSetMmioSpteMask(format, big(0), big(1), big(2));
    default:
      throw new Error(`unknown set-up call ${name}`);
  }
}

/** Replays the recorded set-up of a configuration; the first two calls are module init and mask reset. */
export function replaySetUp(rules: RuleSet, setUp: SetUp): SpteFormat {
  const [init, reset, ...calls] = setUp.calls;
  if (init?.[0] !== "kvm_mmu_spte_module_init" || reset?.[0] !== "kvm_mmu_reset_all_pte_masks") {
    throw new Error(`unexpected start of set-up: ${JSON.stringify(setUp.calls)}`);
  }
  const start = kvmMmuResetAllPteMasks(setUp.mode, rules, {
    maxPhyAddr: setUp.cpuid_maxphyaddr,
    x86PhysBits: setUp.x86_phys_bits,
    x86CacheBits: setUp.x86_cache_bits,
    bugL1tf: setUp.bug_l1tf,
    smeMeMask: BigInt(setUp.sme_me_mask),
    allowMmioCaching: setUp.mmio_caching_param,
  });
  return calls.reduce(applyCall, start);
}
