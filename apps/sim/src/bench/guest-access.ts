import { DEFAULT_TLB_GEOMETRY } from "@kvm-age/vcpu";
import { createVm } from "../vm/create-vm.js";
import { benchConfig } from "./bench-config.js";
import { type BenchRow, nanoseconds } from "./bench-row.js";
import { leastOf, timeNs } from "./timing.js";

const ACCESSES = 1 << 20;
const ROUNDS = 5;
const PAGES = 1 << 15;

/** Guest accesses that hit the TLB, and that miss it and walk four levels. */
export function benchGuestAccess(): BenchRow[] {
  const { vm, cpu } = createVm(benchConfig(PAGES));
  const vcpu = vm.vcpu(0).hardware;
  const run = (pages: number): number => {
    const rounds = Array.from({ length: ROUNDS }, () =>
      timeNs(() => {
        for (let access = 0; access < ACCESSES; access++) vcpu.access(cpu, vm.gpaOf(access % pages), "read");
      }),
    );
    return leastOf(rounds) / ACCESSES;
  };
  run(PAGES);
  const { entries } = DEFAULT_TLB_GEOMETRY.small;
  const hit = run(entries / 2);
  const miss = run(PAGES);
  return [
    { name: "guest access, TLB hit", figure: nanoseconds(hit), baseline: "", ratio: "", aim: "≤ 40 ns" },
    {
      name: "guest access, TLB miss and walk",
      figure: nanoseconds(miss),
      baseline: `hit ${nanoseconds(hit)}`,
      ratio: `${(miss / hit).toFixed(2)}×`,
      aim: "≤ 150 ns",
    },
  ];
}
