import { type AccessKind, LOAD, MODIFY, STORE } from "../../src/lackey/access-kind.js";

/** An access as a test gives it. */
export interface WrittenAccess {
  readonly kind: AccessKind;
  readonly address: bigint;
  readonly size: number;
}

const LETTERS: Readonly<Record<AccessKind, string>> = { [LOAD]: "L", [STORE]: "S", [MODIFY]: "M" };

/** A line as lackey writes it, without the newline. */
export function lackeyLine({ kind, address, size }: WrittenAccess): string {
  return ` ${LETTERS[kind]} ${address.toString(16).padStart(8, "0")},${size}`;
}
