import type { AgingPasses } from "../results/aging-passes.js";

/** The figures of aging passes that took so many nanoseconds each. */
export function summarizePasses(passNs: readonly number[]): AgingPasses {
  const passSeconds = passNs.map((ns) => ns / 1e9);
  const totalSeconds = passSeconds.reduce((sum, seconds) => sum + seconds, 0);
  const passes = passSeconds.length;
  return { passes, totalSeconds, averagePassSeconds: passes === 0 ? 0 : totalSeconds / passes, passSeconds };
}
