import type { Spte } from "../address/spte.js";
import { mergedVolatileRule } from "../update/volatile-rule.js";
import type { RuleSet } from "./rule-set.js";

/** Linux 6.15: lockless aging as merged (arch/x86/kvm/mmu/spte.h and spte.c of that release). */
export const linux615: RuleSet = Object.freeze({
  name: "linux-6.15",

  frozenSpte: 0x80000000000005a0n as Spte,

  spteTdpAdMask: 0x0030000000000000n,
  spteTdpAdDisabled: 0x0010000000000000n,
  spteTdpAdWrprotOnly: 0x0020000000000000n,

  softwareAdBits: true,
  resyncKeepsAccessed: true,
  dirtyOnRewrite: true,

  accTrackSavedBitsMask: 0x5n,
  accTrackSavedBitsShift: 54n,

  eptSpteHostWritable: 1n << 57n,
  eptSpteMmuWritable: 1n << 58n,
  eptAccTrackMask: 0x7n,
  eptPresentMaskCarriesRead: true,
  eptUserMask: 0x1n,
  eptXsMask: 0x4n,
  eptXuMask: 0n,

  mmioGeneration: Object.freeze({
    mask: 0x7ffffn,
    lowMask: 0x7f8n,
    lowShift: 3n,
    highMask: 0x7ff0000000000000n,
    highShift: 44n,
  }),
  spteMmioAllowedMask: 0x800ffffffffff007n,

  accReadMask: 0,
  accWriteMask: 2,
  accUserMask: 4,
  accExecMask: 1,
  accAll: 7,

  role: Object.freeze({
    accessWidth: 3,
    invalid: 11,
    eferNx: 12,
    cr0Wp: 13,
    smepAndnotWp: 14,
    smapAndnotWp: 15,
    cr4Smep: null,
  }),

  accessCheck: "entry-bits",
  splitExecute: "add-if-role-allows",
  marksHostMmio: false,
  warnsOnMmioSpteWithoutCaching: true,

  volatileRule: mergedVolatileRule,
  mmuSpteUpdateFlush: "mmu-writable-lost",

  agingUpdate: "fetch-and",
  rmapWalkStart: "head",

  tdpTeardownOrder: "after-event",
  tdpAgedRoots: "valid",
  tdpPrefetchSpurious: "present",
  tdpAllowedSpurious: true,
  tdpDirtyLogOff: "make-huge",
  tdpZapSp: "write-lock",
  eptReadReportsUser: true,

  shadowPageHash: "with-vm",
  unsyncTrustsLpageInfo: false,
  trackWriteZapsNestedChildren: false,
});
