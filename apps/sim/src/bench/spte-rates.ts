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
  type Spte,
} from "@kvm-age/spte";
import { Bench } from "tinybench";
import { type BenchRow, nanoseconds } from "./bench-row.js";

const MASK = 4095;

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
  const sptes = Array.from(
    { length: MASK + 1 },
    (_, pfn) => makeSpte(format, { ...input, pfn: pfn as Pfn }).spte,
  );
  let index = 0;
  const next = (): Spte => sptes[index++ & MASK]!;
  let sink = 0;
  const bench = new Bench({ time: 300 });
  bench.add("bare bit test", () => {
    if (BigInt.asUintN(64, next() & 0x100n) !== 0n) sink++;
  });
  bench.add("isAccessedSpte", () => {
    if (isAccessedSpte(format, next())) sink++;
  });
  bench.add("markSpteForAccessTrack", () => {
    if (markSpteForAccessTrack(format, next()) !== 0n) sink++;
  });
  bench.add("makeSpte", () => {
    if (makeSpte(format, { ...input, pfn: (index++ & MASK) as Pfn }).spte !== 0n) sink++;
  });
  bench.add("explainSpte", () => {
    sink += explainSpte(format, next(), 1).fields.length;
  });
  await bench.run();
  const meanNs = (name: string): number => {
    const { result } = bench.getTask(name)!;
    return result.state === "completed" ? result.latency.mean * 1e6 : Number.NaN;
  };
  const bare = meanNs("bare bit test");
  return bench.tasks.slice(1).map(({ name }) => ({
    name: `spte: ${name}`,
    figure: nanoseconds(meanNs(name)),
    baseline: `bare bit test ${nanoseconds(bare)}`,
    ratio: `${(meanNs(name) / bare).toFixed(1)}×`,
    aim: "",
  }));
}
