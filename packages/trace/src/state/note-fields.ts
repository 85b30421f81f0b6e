const FIELD = /([A-Za-z_]\w*)=(\S+)/g;
const HEX = /^(?:0x)?([0-9a-f]{1,13})$/i;

/** The `name=value` pairs of a note, as text. */
export function noteFields(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(FIELD)].map((match) => [match[1]!, match[2]!]));
}

/** A hexadecimal number, `0x` allowed; null for other text and for more than 52 bits. */
export function hexField(text: string | undefined): number | null {
  const digits = text === undefined ? undefined : HEX.exec(text)?.[1];
  return digits === undefined ? null : Number.parseInt(digits, 16);
}

/** A decimal number of at most 15 digits; null for other text. */
export function decimalField(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number.parseInt(text, 10) : null;
}
