import type { Spte } from "../address/spte.js";
import { mergedVolatileRule } from "../update/volatile-rule.js";
import type { RuleSet } from "./rule-set.js";

/** Linux 7.3: user-execute as a permission of its own, aging by compare-exchange (7.3.4 was read). */
export const linux73: RuleSet = Object.freeze({
  name: "linux-7.3",

  frozenSpte: 0x80000000000001a0n as Spte,

  spteTdpAdMask: 0x3000000000000000n,
  spteTdpAdDisabled: 0x1000000000000000n,
  spteTdpAdWrprotOnly: 0x2000000000000000n,

  softwareAdBits: true,
  resyncKeepsAccessed: true,
  dirtyOnRewrite: true,

  accTrackSavedBitsMask: 0x405n,
  accTrackSavedBitsShift: 52n,

  eptSpteHostWritable: 1n << 53n,
  eptSpteMmuWritable: 1n << 55n,
  eptAccTrackMask: 0x407n,
  eptPresentMaskCarriesRead: false,
  eptUserMask: 0n,
  eptXsMask: 0x4n,
  eptXuMask: 0x400n,

  mmioGeneration: Object.freeze({
    mask: 0x3ffffn,
    lowMask: 0x3f8n,
    lowShift: 3n,
    highMask: 0x7ff0000000000000n,
    highShift: 45n,
  }),
  spteMmioAllowedMask: 0x800ffffffffff407n,

  accReadMask: 1,
  accWriteMask: 2,
  accUserMask: 4,
  accExecMask: 8,
  accAll: 15,

  role: Object.freeze({
    accessWidth: 4,
    invalid: 12,
    eferNx: 13,
    cr0Wp: 14,
    smepAndnotWp: null,
    smapAndnotWp: 15,
    cr4Smep: 20,
  }),

  accessCheck: "permission-table",
  splitExecute: "recompute-from-role",
  marksHostMmio: true,
  warnsOnMmioSpteWithoutCaching: false,

  volatileRule: mergedVolatileRule,
  mmuSpteUpdateFlush: "mmu-writable-lost",

  agingUpdate: "cmpxchg",
  rmapWalkStart: "locked-value",

  tdpTeardownOrder: "before-event",
  tdpAgedRoots: "valid",
  tdpPrefetchSpurious: "leaf",
  tdpAllowedSpurious: true,
  tdpDirtyLogOff: "make-huge",
  tdpZapSp: "read-lock",
  eptReadReportsUser: false,

  shadowPageHash: "with-first-shadow-root",
  unsyncTrustsLpageInfo: true,
  trackWriteZapsNestedChildren: true,
});
