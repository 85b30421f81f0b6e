// Adds to and removes from one list under mmu_lock. An SPTE is present while it is in the list, 0 from its zap until it is
// unlinked, and poison outside the list, as if its table had been freed and were used for something else.
import { kvmZapAllRmapSptes, kvmZapOneRmapSpte, pteListAdd } from "../../dist/index.js";
import { check, work } from "./worker.mjs";

work(({ cpu, rmaps, random, head, sptes, present, poison, stop, rounds }) => {
  const inList = [];
  const outside = [...sptes];
  const clear = (by, sptep) => {
    const old = by.xchg(sptep, 0n, "full");
    check(BigInt.asUintN(8, old) === BigInt.asUintN(8, present), `cleared an SPTE that held ${old}`);
  };
  const add = () => {
    const [sptep] = outside.splice(random(outside.length), 1);
    cpu.writeOnce(sptep, present);
    check(pteListAdd(rmaps, cpu, rmaps.descriptors, sptep, head) === inList.length, "wrong count");
    inList.push(sptep);
  };
  const unlinked = (sptep) => {
    cpu.writeOnce(sptep, poison);
    outside.push(sptep);
  };
  const zapOne = () => {
    const [sptep] = inList.splice(random(inList.length), 1);
    kvmZapOneRmapSpte(rmaps, cpu, head, sptep, clear);
    unlinked(sptep);
  };
  const zapAll = () => {
    kvmZapAllRmapSptes(rmaps, cpu, head, clear);
    for (const sptep of inList.splice(0)) unlinked(sptep);
  };

  for (let round = 0; round < rounds; round++) {
    cpu.writeLock(rmaps.mmuLock);
    const dice = random(100);
    if (dice === 0) zapAll();
    else if (outside.length > 0 && (inList.length === 0 || dice < 55)) add();
    else zapOne();
    cpu.writeUnlock(rmaps.mmuLock);
  }
  cpu.storeRelease32(stop, 1);
  return inList.length;
});
