/** Thrown when an entry or a page changes in a way that no correct caller can cause, such as a new pfn without a zap. */
export class ShadowPageCorruptionError extends Error {
  override readonly name = "ShadowPageCorruptionError";

  constructor(
    readonly what: string,
    readonly values: Readonly<Record<string, bigint | number>>,
  ) {
    super(`${what} (${describe(values)})`);
  }
}

function describe(values: Readonly<Record<string, bigint | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} 0x${value.toString(16)}`)
    .join(", ");
}

/** Thrown when a shadow MMU or one of its contexts is set up with a value outside its range. */
export class ShadowMmuConfigError extends RangeError {
  override readonly name = "ShadowMmuConfigError";

  constructor(
    readonly field: string,
    readonly value: unknown,
    readonly allowed: string,
  ) {
    super(`${field}: ${String(value)} is not ${allowed}`);
  }
}
