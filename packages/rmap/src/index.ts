export { checkRmapHead } from "./check/check-rmap-head.js";
export { PTE_LIST_DESC_BYTES, PTE_LIST_EXT, type PteListDesc } from "./descriptor/pte-list-desc.js";
export { RmapCorruptionError, RmapLockError } from "./errors.js";
export {
  KVM_RMAP_LOCKED,
  KVM_RMAP_MANY,
  type KvmRmapHead,
  kvmRmapGet,
  RMAP_RECYCLE_THRESHOLD,
} from "./head/kvm-rmap-head.js";
export { RmapIterator } from "./iterator/rmap-iterator.js";
export {
  attachKvmRmaps,
  createKvmRmaps,
  KvmRmaps,
  type KvmRmapsComponents,
  type KvmRmapsHandle,
  type KvmRmapsInit,
  type RmapMachine,
} from "./kvm-rmaps.js";
export { type ClearSpte, kvmZapAllRmapSptes, kvmZapOneRmapSpte } from "./list/kvm-zap-rmap-sptes.js";
export { type PteListDescCache, pteListAdd } from "./list/pte-list-add.js";
export { pteListCount } from "./list/pte-list-count.js";
export { pteListRemove } from "./list/pte-list-remove.js";
export {
  kvmRmapLock,
  kvmRmapLockReadonly,
  kvmRmapUnlock,
  kvmRmapUnlockReadonly,
} from "./lock/kvm-rmap-lock.js";
export { RMAP_LOCK_CLASS } from "./lock/rmap-lock-class.js";
