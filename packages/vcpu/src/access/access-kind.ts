import {
  PERMISSION_EXECUTE,
  PERMISSION_READ,
  PERMISSION_USER_EXECUTE,
  PERMISSION_USER_READ,
  PERMISSION_USER_WRITE,
  PERMISSION_WRITE,
} from "./permission.js";

/**
 * What the guest does with one page, and from which mode: `read`, `write` and `fetch` (of an instruction) in supervisor
 * mode, the other three in user mode. For a guest without paging of its own the mode makes no difference to data, and to
 * fetches only under mode-based execute control.
 */
export type AccessKind = "read" | "write" | "fetch" | "user-read" | "user-write" | "user-fetch";

const NEEDED_PERMISSION: { readonly [Kind in Exclude<AccessKind, "read" | "write">]: number } = {
  fetch: PERMISSION_EXECUTE,
  "user-read": PERMISSION_USER_READ,
  "user-write": PERMISSION_USER_WRITE,
  "user-fetch": PERMISSION_USER_EXECUTE,
};

/** The one permission bit that an access needs. */
export function neededPermission(kind: AccessKind): number {
  if (kind === "read") return PERMISSION_READ;
  if (kind === "write") return PERMISSION_WRITE;
  return NEEDED_PERMISSION[kind];
}
