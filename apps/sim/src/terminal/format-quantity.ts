const SECOND_UNITS: readonly (readonly [limit: number, unit: string])[] = [
  [1e-6, "ns"],
  [1e-3, "µs"],
  [1, "ms"],
  [Number.POSITIVE_INFINITY, "s"],
];
const UNIT_SECONDS: Readonly<Record<string, number>> = { ns: 1e-9, µs: 1e-6, ms: 1e-3, s: 1 };

/** Four significant digits without an exponent, thousands separated. */
function formatNumber(value: number): string {
  return value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

/** A duration in the unit that suits it: `12.3 µs`. */
export function formatDuration(seconds: number): string {
  if (seconds === 0) return "0 s";
  const unit = SECOND_UNITS.find(([limit]) => seconds < limit)?.[1] ?? "s";
  return `${formatNumber(seconds / UNIT_SECONDS[unit]!)} ${unit}`;
}

/** A count with thousands separated; medians of counts may have a half. */
export function formatCount(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 1 });
}

/** A part of a whole in percent. */
export function formatShare(value: number): string {
  return `${(100 * value).toFixed(2)} %`;
}

/** A size in the largest unit in which it is at least 1. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${formatNumber(bytes / 1024 ** power)} ${units[power]}`;
}

/** A value of a metric, by the unit its JSON field has. */
export function formatQuantity(value: number, unit: string): string {
  if (unit === "s") return formatDuration(value);
  if (unit === "ns") return formatDuration(value * 1e-9);
  return unit === "share" ? formatShare(value) : formatCount(value);
}
