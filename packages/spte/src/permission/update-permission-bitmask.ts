import type { RuleSet } from "../rules/rule-set.js";

/**
 * Sixteen words, one per kind of access (bit 0 write, bit 1 user, bit 2 SMAP does not apply, bit 3 fetch);
 * bit n of a word is set when the access faults on a translation with access bits n.
 */
export type PermissionTable = readonly number[];

/** What a permission table depends on. Omitted settings have the values KVM uses for its own entries. */
export interface PermissionFeatures {
  /** The tables are EPT tables. */
  readonly ept: boolean;
  /** The tables are two-dimensional-paging tables (EPT or NPT); decides what `cr4Smep` means. */
  readonly tdp: boolean;
  /** CR0.WP: supervisor writes respect W. Default true. */
  readonly cr0Wp?: boolean;
  /** EFER.NX: fetches respect the execute permission. Default true. */
  readonly eferNx?: boolean;
  /** SMEP; for EPT, mode-based execute control; for NPT, guest-mode execute trap. Default false. */
  readonly cr4Smep?: boolean;
  /** SMAP. Default false. */
  readonly cr4Smap?: boolean;
}

/** Features with every default filled in. */
type ResolvedFeatures = Required<PermissionFeatures>;

const WRITE = 1;
const USER = 2;
const SMAP_DOES_NOT_APPLY = 4;
const FETCH = 8;

/** For each access bit, the set (as a bit mask over access values) of values that lack it. */
interface LackingSets {
  readonly all: number;
  readonly read: number;
  readonly write: number;
  readonly user: number;
  readonly exec: number;
}

function accessValuesLacking(rules: RuleSet, bit: number): number {
  if (bit === 0) return 0;
  let set = 0;
  for (let access = 0; access <= rules.accAll; access++) {
    if ((access & bit) === 0) set |= 1 << access;
  }
  return set;
}

function lackingSets(rules: RuleSet): LackingSets {
  return {
    all: 2 ** (rules.accAll + 1) - 1,
    read: accessValuesLacking(rules, rules.accReadMask),
    write: accessValuesLacking(rules, rules.accWriteMask),
    user: accessValuesLacking(rules, rules.accUserMask),
    exec: accessValuesLacking(rules, rules.accExecMask),
  };
}

/** EPT: no user bit for data; with mode-based control a user fetch asks for user-execute instead. */
function eptFaults(kind: number, lacking: LackingSets, modeBased: boolean): number {
  const write = kind & WRITE ? lacking.write : 0;
  if ((kind & FETCH) === 0) return write;
  return write | (modeBased && kind & USER ? lacking.user : lacking.exec);
}

/** Faults that the U bit causes: user access to a supervisor page, and SMEP and SMAP the other way round. */
function userBitFaults(kind: number, lacking: LackingSets, features: ResolvedFeatures): number {
  const executeTrap = features.tdp && features.cr4Smep;
  if (kind & USER) return executeTrap ? 0 : lacking.user;
  const userPages = lacking.all & ~lacking.user;
  if (kind & FETCH) return features.cr4Smep ? userPages : 0;
  return features.cr4Smap && (kind & SMAP_DOES_NOT_APPLY) === 0 ? userPages : 0;
}

/** Normal page tables: shadow paging and NPT. */
function normalFaults(kind: number, lacking: LackingSets, features: ResolvedFeatures): number {
  const writeProtected = kind & WRITE && (features.cr0Wp || kind & USER) ? lacking.write : 0;
  const noExecute = kind & FETCH && features.eferNx ? lacking.exec : 0;
  return writeProtected | noExecute | userBitFaults(kind, lacking, features);
}

/**
 * Builds the permission words of an MMU (kernel `update_permission_bitmask`; for KVM's own entries the
 * words of today's page-format record). Access values are those of the rule set, 0 to `accAll`. Where reading
 * is no access bit of its own, EPT follows the normal rules: its USER means "readable", and every EPT access
 * counts as a user access.
 */
export function updatePermissionBitmask(rules: RuleSet, features: PermissionFeatures): PermissionTable {
  const resolved = { cr0Wp: true, eferNx: true, cr4Smep: false, cr4Smap: false, ...features };
  const lacking = lackingSets(rules);
  const ownEptRules = resolved.ept && rules.accReadMask !== 0;
  const words = Array.from({ length: 16 }, (_, kind) => {
    const pureRead = (kind & (WRITE | FETCH)) === 0 ? lacking.read : 0;
    const faults = ownEptRules
      ? eptFaults(kind, lacking, resolved.cr4Smep)
      : normalFaults(kind, lacking, resolved);
    return pureRead | faults;
  });
  return Object.freeze(words);
}
