import {
  createSpteFormat,
  explainSpte,
  type Gfn,
  isAccessedSpte,
  type MakeSpteInput,
  makeSpte,
  markSpteForAccessTrack,
  type Pfn,
  SHADOW_NONPRESENT_VALUE,
} from "@kvm-age/spte";
import { Bench } from "tinybench";
import { type BenchRow, nanoseconds } from "./bench-row.js";

const VALUES = 4096;
const BARE = "bare bit test";

/** Decode and make rates of `@kvm-age/spte`, against a bare bit test on the same values. */
export async function benchSpteRates(): Promise<BenchRow[]> {
  const format = createSpteFormat({ mode: "ept", adBits: false });
  const input: MakeSpteInput = {
    level: 1,
    adDisabled: true,
    guestMode: false,
    cpuDirtyLog: false,
    pteAccess: format.rules.accAll,
    gfn: 0x12345 as Gfn,
    pfn: 0x12345 as Pfn,
    oldSpte: SHADOW_NONPRESENT_VALUE,
    prefetch: false,
    synchronizing: false,
    hostWritable: true,
    slotDirtyLogging: false,
    nxHugePageMitigation: false,
    isMmioPfn: false,
    memoryType: 0x70n,
    tryToUnsyncPages: null,
  };
  const pfns = Array.from({ length: VALUES }, (_, pfn) => pfn as Pfn);
  const sptes = pfns.map((pfn) => makeSpte(format, { ...input, pfn }).spte);
  // Every task goes through all values and counts something, so that nothing can be left out.
  const tasks: [string, () => number][] = [
    [BARE, () => sptes.filter((spte) => BigInt.asUintN(64, spte & 0x100n) !== 0n).length],
    ["isAccessedSpte", () => sptes.filter((spte) => isAccessedSpte(format, spte)).length],
    [
      "markSpteForAccessTrack",
      () => sptes.filter((spte) => markSpteForAccessTrack(format, spte) !== 0n).length,
    ],
    ["makeSpte", () => pfns.filter((pfn) => makeSpte(format, { ...input, pfn }).spte !== 0n).length],
    ["explainSpte", () => sptes.filter((spte) => explainSpte(format, spte, 1).fields.length > 0).length],
  ];
  const bench = new Bench({ time: 300 });
  for (const [name, task] of tasks) {
    bench.add(name, () => {
      if (task() === 0) throw new Error(`${name} counted nothing`);
    });
  }
  await bench.run();
  const leastNs = (name: string): number => {
    const { result } = bench.getTask(name)!;
    return result.state === "completed" ? (result.latency.min * 1e6) / VALUES : Number.NaN;
  };
  const bare = leastNs(BARE);
  return tasks.slice(1).map(([name]) => ({
    name: `spte: ${name}`,
    figure: nanoseconds(leastNs(name)),
    baseline: `${BARE} ${nanoseconds(bare)}`,
    ratio: `${(leastNs(name) / bare).toFixed(1)}×`,
    aim: "",
  }));
}
