import type { ObjectCache } from "@kvm-age/machine";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";

/** Where a new shadow page is taken from (`struct shadow_page_caches`): a vCPU's stock, or the VM's for splitting. */
export interface ShadowPageCaches {
  /** Descriptors. */
  readonly headers: ObjectCache;
  /** Tables whose 512 entries are `SHADOW_NONPRESENT_VALUE`. */
  readonly shadowPages: ObjectCache;
  /** Frames for `shadowed_translation`; null where only direct pages are made, which have none. */
  readonly shadowedInfo: ObjectCache | null;
}

/** The vCPU's own stock. */
export function vcpuShadowPageCaches(vcpu: ShadowMmuVcpu): ShadowPageCaches {
  return {
    headers: vcpu.pageHeaderCache,
    shadowPages: vcpu.shadowPageCache,
    shadowedInfo: vcpu.shadowedInfoCache,
  };
}
