// Walks one list without mmu_lock until the writer has finished, at least `minimum` times, and ages what it finds: Accessed
// is set or cleared by one exchange. What is in the chain must be present, or zapped and not yet unlinked; never poison.
import { kvmRmapLockReadonly, kvmRmapUnlockReadonly, RmapIterator } from "../../dist/index.js";
import { check, work } from "./worker.mjs";

const ACCESSED = 0x100n;

work(({ cpu, rmaps, head, sptes, present, stop, minimum }) => {
  const all = new Set(sptes);
  const iterator = new RmapIterator();
  const totals = { walks: 0, entries: 0, cleared: 0, empty: 0 };
  while (totals.walks < minimum || cpu.loadAcquire32(stop) === 0) {
    const value = kvmRmapLockReadonly(rmaps, cpu, head);
    const seen = new Set();
    for (let sptep = iterator.getFirst(cpu, value); sptep !== 0; sptep = iterator.getNext(cpu)) {
      check(all.has(sptep), `0x${sptep.toString(16)} is no SPTE`);
      check(!seen.has(sptep), "an SPTE is in the chain twice");
      seen.add(sptep);
      const spte = BigInt.asUintN(64, cpu.readOnce(sptep));
      if (spte === 0n) {
        totals.cleared++;
        continue;
      }
      check(BigInt.asUintN(64, spte & ~ACCESSED) === present, `SPTE 0x${spte.toString(16)} in the chain`);
      cpu.cmpxchg(sptep, spte, BigInt.asUintN(64, spte ^ ACCESSED), "relaxed");
    }
    kvmRmapUnlockReadonly(rmaps, cpu, head, value);
    totals.walks++;
    totals.entries += seen.size;
    if (value === 0n) totals.empty++;
  }
  return totals;
});
