// Readers follow a shared pointer and check the stamp of what they find; writers replace the object, wait for the
// grace period in one of three ways, and only then ruin the stamp and free it.
import { check, torture } from "./worker.mjs";

const LIVE = 0x11fe11fe11fe11fen;
const DEAD = 0xdeaddeaddeaddeadn;
const HEAD_OFFSET = 8;

torture(({ machine, cpu, random, slabHandle, pointer, srcu, role, rounds, way }) => {
  const slab = machine.slab(slabHandle);
  const bury = (object) => {
    check(cpu.xchg(object, DEAD, "full") === LIVE, "freed twice");
    slab.free(cpu, object);
  };
  const callback = { id: slab.address, run: (_cpu, head) => bury(head - HEAD_OFFSET) };
  const retire = {
    callRcu: (object) => cpu.callRcu(object + HEAD_OFFSET, callback),
    synchronizeRcu: (object) => {
      cpu.synchronizeRcu();
      bury(object);
    },
    synchronizeSrcu: (object) => {
      cpu.synchronizeSrcu(srcu);
      bury(object);
    },
  }[way];
  const enter = () => (way === "synchronizeSrcu" ? cpu.srcuReadLock(srcu) : cpu.rcuReadLock());
  const leave = (index) =>
    way === "synchronizeSrcu" ? cpu.srcuReadUnlock(srcu, index) : cpu.rcuReadUnlock();

  const read = () => {
    const outer = enter();
    const object = cpu.loadAcquire32(pointer);
    const inner = random(4) === 0 ? [enter()] : [];
    for (let look = random(12); look >= 0; look--) {
      const stamp = cpu.loadAcquire(object);
      check(stamp === LIVE, `a reader saw the stamp ${stamp.toString(16)} at round of ${way}`);
    }
    for (const index of inner) leave(index);
    leave(outer);
  };
  const write = () => {
    const object = slab.allocate(cpu);
    cpu.writeOnce(object, LIVE);
    retire(cpu.xchg32(pointer, object, "full"));
    if (way === "callRcu") read();
  };

  for (let round = 0; round < rounds; round++) {
    if (role === "writer") write();
    else read();
  }
});
