const NS_PER_SECOND = 1_000_000_000;

/** Seconds as the selftests print them: seconds, dot, nine digits of nanoseconds, `s`. */
export function formatTimespec(seconds: number): string {
  const ns = Math.round(seconds * NS_PER_SECOND);
  const whole = Math.floor(ns / NS_PER_SECOND);
  return `${whole}.${String(ns % NS_PER_SECOND).padStart(9, "0")}s`;
}
