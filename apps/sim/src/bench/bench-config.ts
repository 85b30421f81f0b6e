import type { VmConfig } from "../vm/vm-config.js";

/** A VM on a host of its own, for one thread. */
export function benchConfig(guestPages: number): VmConfig {
  return {
    vcpus: 1,
    policy: "lockless",
    mmu: "tdp",
    mmuMode: "ept",
    adBits: true,
    ruleSet: "linux-7.3",
    seed: 1,
    lockdep: false,
    sanitizer: false,
    guestPages,
    hugePages: false,
    hostPages: guestPages + 4096,
    memoryLimitPages: guestPages + 4096,
    swapSlots: 0,
    contents: false,
    recordAccesses: false,
  };
}
