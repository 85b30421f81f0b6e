import {
  PERMISSION_EXECUTE,
  PERMISSION_READ,
  PERMISSION_USER_EXECUTE,
  PERMISSION_USER_READ,
  PERMISSION_USER_WRITE,
  PERMISSION_WRITE,
} from "./permission.js";

// What the entries of a walk leave of one page. An entry of EPT or NPT gives rights in the first four `PERMISSION_…` bits; an
// entry of x86 paging in the three below. The rights of a walk are the AND over its levels.
/** x86: bit 1 of the entry (R/W). */
export const RIGHT_WRITE = 1;
/** x86: bit 2 of the entry (U/S): a user-mode address. */
export const RIGHT_USER = 2;
/** x86: bit 63 of the entry (XD, NX) is clear. */
export const RIGHT_EXECUTE = 4;

/** The permissions that a walk's rights grant, at the rights' own index. */
export type Grants = readonly number[];

/** The control bits that x86 access rights depend on (Intel SDM vol. 3, "Determination of access rights"). */
export interface AccessControls {
  /** CR0.WP: supervisor writes need R/W. */
  readonly cr0Wp: boolean;
  /** EFER.NXE: fetches need XD to be clear. */
  readonly eferNx: boolean;
  /** CR4.SMEP: no supervisor fetches from user-mode addresses. */
  readonly cr4Smep: boolean;
  /** CR4.SMAP: no supervisor data accesses to user-mode addresses; EFLAGS.AC is taken to be clear. */
  readonly cr4Smap: boolean;
}

function supervisorGrants(rights: number, { cr0Wp, eferNx, cr4Smep, cr4Smap }: AccessControls): number {
  const user = (rights & RIGHT_USER) !== 0;
  const writable = !cr0Wp || (rights & RIGHT_WRITE) !== 0;
  const executable = !eferNx || (rights & RIGHT_EXECUTE) !== 0;
  const data = user && cr4Smap ? 0 : PERMISSION_READ | (writable ? PERMISSION_WRITE : 0);
  return data | (executable && !(user && cr4Smep) ? PERMISSION_EXECUTE : 0);
}

function userGrants(rights: number, { eferNx }: AccessControls): number {
  if ((rights & RIGHT_USER) === 0) return 0;
  const executable = !eferNx || (rights & RIGHT_EXECUTE) !== 0;
  const write = (rights & RIGHT_WRITE) === 0 ? 0 : PERMISSION_USER_WRITE;
  return PERMISSION_USER_READ | write | (executable ? PERMISSION_USER_EXECUTE : 0);
}

/** What each combination of x86 rights grants under the given controls. */
export function x86Grants(controls: AccessControls): Grants {
  return Array.from(
    { length: 8 },
    (_, rights) => supervisorGrants(rights, controls) | userGrants(rights, controls),
  );
}

/**
 * What rights of EPT or NPT grant: themselves, and data to user mode as to supervisor mode, since those formats do not
 * tell the two apart.
 */
export const SECOND_LEVEL_GRANTS: Grants = Array.from(
  { length: 16 },
  (_, rights) => rights | ((rights & (PERMISSION_READ | PERMISSION_WRITE)) << 4),
);
