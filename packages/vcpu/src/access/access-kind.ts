import {
  PERMISSION_EXECUTE,
  PERMISSION_READ,
  PERMISSION_USER_EXECUTE,
  PERMISSION_WRITE,
} from "./permission.js";

/**
 * What the guest does with one page. `fetch` is an instruction fetch of the guest's kernel, `user-fetch` one of its
 * user code; the two differ only under mode-based execute control.
 */
export type AccessKind = "read" | "write" | "fetch" | "user-fetch";

/** The permission bit that an access needs when kernel and user fetches are told apart. */
export function neededPermission(kind: AccessKind): number {
  if (kind === "read") return PERMISSION_READ;
  if (kind === "write") return PERMISSION_WRITE;
  return kind === "fetch" ? PERMISSION_EXECUTE : PERMISSION_USER_EXECUTE;
}
