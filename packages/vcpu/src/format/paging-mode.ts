import { UnsupportedPagingModeError } from "../errors.js";

/** How the hardware reads its page tables; plain data. */
export interface PagingMode {
  /**
   * Which tables the MMU gives the processor. `ept` and `npt` translate guest-physical addresses (Intel SDM vol. 3, chapter
   * "VMX support for address translation"; AMD APM vol. 2 §15.25); if the guest pages by itself, its own tables come
   * first. `shadow`: there is no second level; x86 tables made by the MMU translate guest-linear addresses.
   */
  readonly pageFormat: "ept" | "npt" | "shadow";
  /** Whether walks maintain Accessed and Dirty. Only EPT can be without (EPTP bit 6). */
  readonly adEnabled: boolean;
  /**
   * Levels of EPT or NPT. Of shadow tables the most that the processor supports (5: LA57): how many a walk has follows
   * from the guest's paging mode.
   */
  readonly rootLevel: 4 | 5;
  /** MAXPHYADDR in bits, [32, 52]; entry bits from here to 51 are reserved. @default 46, for npt 48 */
  readonly maxPhyAddr?: number;
  /** EPT: whether execute-only entries are legal (IA32_VMX_EPT_VPID_CAP bit 0). @default true for ept */
  readonly executeOnly?: boolean;
  /** EPT: mode-based execute control; user fetches need bit 10 instead of bit 2. @default false */
  readonly modeBasedExecuteControl?: boolean;
  /** EPT: whether KVM's error code calls a read a user access, as it did up to 6.15. @default false */
  readonly eptReadReportsUser?: boolean;
  /** NPT: number of the memory-encryption bit, [32, 51]; it is no part of the address. @default none */
  readonly encryptionBit?: number | null;
}

/** A `PagingMode` with nothing left open. */
export type CompletePagingMode = Required<PagingMode>;

function check(condition: boolean, option: string, given: unknown, allowed: string): void {
  if (!condition) throw new UnsupportedPagingModeError(option, String(given), allowed);
}

const isBitNumber = (value: number): boolean => Number.isInteger(value) && value >= 32 && value <= 51;

/**
 * Fills in the defaults and refuses what no processor has.
 *
 * @throws UnsupportedPagingModeError
 */
export function completePagingMode(mode: PagingMode): CompletePagingMode {
  const { pageFormat, adEnabled, rootLevel } = mode;
  const ept = pageFormat === "ept";
  const npt = pageFormat === "npt";
  check(ept || npt || pageFormat === "shadow", "pageFormat", pageFormat, "ept, npt or shadow");
  check(rootLevel === 4 || rootLevel === 5, "rootLevel", rootLevel, "4 or 5");
  check(ept || adEnabled, "adEnabled", adEnabled, `true with pageFormat ${pageFormat}`);
  const maxPhyAddr = mode.maxPhyAddr ?? (npt ? 48 : 46);
  check(maxPhyAddr === 52 || isBitNumber(maxPhyAddr), "maxPhyAddr", maxPhyAddr, "an integer in [32, 52]");
  const executeOnly = mode.executeOnly ?? ept;
  check(ept || !executeOnly, "executeOnly", executeOnly, "false unless pageFormat is ept");
  const modeBasedExecuteControl = mode.modeBasedExecuteControl ?? false;
  const mbecAllowed = ept || !modeBasedExecuteControl;
  check(mbecAllowed, "modeBasedExecuteControl", modeBasedExecuteControl, "false unless pageFormat is ept");
  const eptReadReportsUser = mode.eptReadReportsUser ?? false;
  const reportAllowed = ept || !eptReadReportsUser;
  check(reportAllowed, "eptReadReportsUser", eptReadReportsUser, "false unless pageFormat is ept");
  const encryptionBit = mode.encryptionBit ?? null;
  const encryptionAllowed = encryptionBit === null || (npt && isBitNumber(encryptionBit));
  check(
    encryptionAllowed,
    "encryptionBit",
    encryptionBit,
    "an integer in [32, 51], only with pageFormat npt",
  );
  return {
    pageFormat,
    adEnabled,
    rootLevel,
    maxPhyAddr,
    executeOnly,
    modeBasedExecuteControl,
    eptReadReportsUser,
    encryptionBit,
  };
}
