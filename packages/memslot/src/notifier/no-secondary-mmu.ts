import type { SecondaryMmu } from "./secondary-mmu.js";

/** A VM without MMUs: nothing is mapped, nothing is young. Also what a partial MMU begins with. */
export const noSecondaryMmu: SecondaryMmu = {
  ageGfn: (): boolean => false,
  testAgeGfn: (): boolean => false,
  unmapGfnRange: (): boolean => false,
  flushShadowAll(): void {},
  flushShadowMemslot(): void {},
  memslotsUpdated(): void {},
  changeMmuPages(): void {},
  updateCpuDirtyLogging(): void {},
  enableDirtyLogging(): void {},
  disableDirtyLogging(): void {},
  enableLogDirtyPtMasked(): void {},
  syncDirtyLog(): void {},
  flushRemoteTlbs(): void {},
  flushRemoteTlbsMemslot(): void {},
};
