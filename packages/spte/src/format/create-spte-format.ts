import { SpteFormatOptionRangeError, UnsupportedSpteFormatOptionError } from "../errors.js";
import { updatePermissionBitmask } from "../permission/update-permission-bitmask.js";
import { defaultRuleSet } from "../rules/default-rule-set.js";
import type { RuleSet } from "../rules/rule-set.js";
import { bitRange } from "./bit-range.js";
import type { HostCpu } from "./host-cpu.js";
import { kvmMmuResetAllPteMasks } from "./kvm-mmu-reset-all-pte-masks.js";
import { kvmMmuSetEptMasks } from "./kvm-mmu-set-ept-masks.js";
import { kvmMmuSetMeSpteMask } from "./kvm-mmu-set-me-spte-mask.js";
import type { MmuMode, SpteFormat } from "./spte-format.js";
import { svmAdjustMmioMask } from "./svm-adjust-mmio-mask.js";

/** What the user of the package says about the machine; everything but the mode has a default. */
export interface CreateSpteFormatOptions {
  readonly mode: MmuMode;
  /** Default: `defaultRuleSet`. */
  readonly ruleSet?: RuleSet;
  /** Whether the CPU maintains A/D bits; `false` only in mode `ept`. Default true. */
  readonly adBits?: boolean;
  /** Whether execute-only EPT entries are possible; `true` only in mode `ept`. Default false. */
  readonly execOnly?: boolean;
  /** CPUID MAXPHYADDR, 32 to 52. Default 46 for `ept`, 48 otherwise. */
  readonly maxPhyAddr?: number;
  /** Address bits left after encryption key bits are taken away, 32 to `maxPhyAddr`. Default `maxPhyAddr`. */
  readonly physBits?: number;
  /** Address bits of an L1 cache tag, 32 to 52; matters on CPUs affected by L1TF. Default `physBits`. */
  readonly cacheBits?: number;
  /** The CPU is affected by L1TF. Default false. */
  readonly l1tf?: boolean;
  /** Bit number of AMD's memory-encryption bit, 32 to 51; only in mode `npt`. Default: no encryption. */
  readonly encryptionBit?: number;
  /** Module parameter `mmio_caching`. Default true. */
  readonly mmioCaching?: boolean;
  /** Mode-based execute control (EPT), guest-mode execute trap (NPT) or SMEP (shadow paging). Default false. */
  readonly executeControl?: boolean;
}

const MODES: readonly MmuMode[] = ["ept", "npt", "shadow", "pae"];

function checkRange(option: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new SpteFormatOptionRangeError(option, value, low, high);
  }
}

/** Refuses options that have no meaning in the chosen mode or rule set. */
function checkCombination(options: CreateSpteFormatOptions, rules: RuleSet): void {
  const { mode } = options;
  if (!MODES.includes(mode)) throw new UnsupportedSpteFormatOptionError("mode", mode, MODES.join(", "));
  if (options.adBits === false && mode !== "ept") {
    throw new UnsupportedSpteFormatOptionError(
      "adBits",
      `false with mode ${mode}`,
      "false only with mode ept",
    );
  }
  if (options.execOnly === true && mode !== "ept") {
    throw new UnsupportedSpteFormatOptionError(
      "execOnly",
      `true with mode ${mode}`,
      "true only with mode ept",
    );
  }
  if (options.encryptionBit !== undefined && mode !== "npt") {
    const given = `${options.encryptionBit} with mode ${mode}`;
    throw new UnsupportedSpteFormatOptionError("encryptionBit", given, "only with mode npt");
  }
  if (options.executeControl === true && rules.role.cr4Smep === null) {
    const given = `true with rule set ${rules.name}`;
    throw new UnsupportedSpteFormatOptionError(
      "executeControl",
      given,
      "false, as its role word has no such bit",
    );
  }
}

function hostCpu(options: CreateSpteFormatOptions): HostCpu {
  const maxPhyAddr = options.maxPhyAddr ?? (options.mode === "ept" ? 46 : 48);
  const x86PhysBits = options.physBits ?? maxPhyAddr;
  const x86CacheBits = options.cacheBits ?? x86PhysBits;
  checkRange("maxPhyAddr", maxPhyAddr, 32, 52);
  checkRange("physBits", x86PhysBits, 32, maxPhyAddr);
  checkRange("cacheBits", x86CacheBits, 32, 52);
  if (options.encryptionBit !== undefined) checkRange("encryptionBit", options.encryptionBit, 32, 51);
  return Object.freeze({
    maxPhyAddr,
    x86PhysBits,
    x86CacheBits,
    bugL1tf: options.l1tf ?? false,
    smeMeMask: options.encryptionBit === undefined ? 0n : 1n << BigInt(options.encryptionBit),
    allowMmioCaching: options.mmioCaching ?? true,
  });
}

/** The calls a vendor module makes, in its order. */
function vendorSetup(format: SpteFormat, options: CreateSpteFormatOptions): SpteFormat {
  const { smeMeMask, x86PhysBits, maxPhyAddr } = format.host;
  if (format.mode === "npt") return svmAdjustMmioMask(kvmMmuSetMeSpteMask(format, smeMeMask, smeMeMask));
  const layout =
    format.mode === "ept"
      ? kvmMmuSetEptMasks(format, options.adBits ?? true, options.execOnly ?? false)
      : format;
  return kvmMmuSetMeSpteMask(layout, 0n, bitRange(x86PhysBits, maxPhyAddr - 1));
}

/** Adds mode-based execute control, guest-mode execute trap or SMEP to the permission words. */
function withExecuteControl(format: SpteFormat): SpteFormat {
  const ept = format.mode === "ept";
  const tdp = ept || format.mode === "npt";
  const permissions = updatePermissionBitmask(format.rules, { ept, tdp, cr4Smep: true });
  return Object.freeze({ ...format, executeControl: true, permissions });
}

/**
 * Sets up a format the way module load does it, from a description of the machine.
 * @throws SpteFormatOptionRangeError when a number is outside its range
 * @throws UnsupportedSpteFormatOptionError when the mode does not exist, or an option does not exist in the
 *   mode or rule set
 */
export function createSpteFormat(options: CreateSpteFormatOptions): SpteFormat {
  const rules = options.ruleSet ?? defaultRuleSet;
  checkCombination(options, rules);
  const format = vendorSetup(kvmMmuResetAllPteMasks(options.mode, rules, hostCpu(options)), options);
  return options.executeControl === true ? withExecuteControl(format) : format;
}
