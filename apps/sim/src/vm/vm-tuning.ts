/** Module parameters and capabilities of KVM that scenarios leave at their defaults. Plain data. */
export interface VmTuning {
  /** The quirk: slot deletion zaps everything fast. */
  readonly slotZapAll: boolean;
  /** `nx_huge_pages`: no executable huge pages. */
  readonly nxHugePages: boolean;
  /** CPU dirty logging: the log is armed by clearing D where D is a hardware bit. The processor's own log is not modelled. */
  readonly cpuDirtyLog: boolean;
  /** `KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`. */
  readonly dirtyLogManualProtect: boolean;
  /** `KVM_DIRTY_LOG_INITIALLY_SET`; needs manual protection. */
  readonly dirtyLogInitiallySet: boolean;
  /** `CONFIG_KVM_PROVE_MMU`: roots of the TDP MMU are zapped from 1 GiB entries on. */
  readonly proveMmu: boolean;
}

/** What KVM does when nobody says otherwise. */
export const DEFAULT_TUNING: VmTuning = Object.freeze({
  slotZapAll: true,
  nxHugePages: false,
  cpuDirtyLog: false,
  dirtyLogManualProtect: false,
  dirtyLogInitiallySet: false,
  proveMmu: false,
});
