// Allocates and frees frames, objects and spans at random. Every allocation carries its owner's stamp in its first and last
// word; a stamp that changed means that two owners had the same memory.
import { OutOfMemoryError } from "../../dist/index.js";
import { check, torture } from "./worker.mjs";

torture(({ machine, cpu, random, index, slabHandle, operations, maxLive }) => {
  const slab = machine.slab(slabHandle);
  const live = [];
  let serial = 0;
  let refused = 0;

  const take = () => {
    const kind = random(8);
    if (kind === 0)
      return { address: machine.frames.allocateSpan(cpu, 4096 * 3), bytes: 4096 * 3, free: "span" };
    if (kind < 4) return { address: machine.frames.allocateFrame(cpu), bytes: 4096, free: "frame" };
    return { address: slab.allocate(cpu), bytes: slab.objectBytes, free: "object" };
  };
  const allocate = () => {
    const allocation = take();
    allocation.stamp = (BigInt(index + 1) << 48n) | BigInt(++serial);
    const last = allocation.address + allocation.bytes - 8;
    check(cpu.readOnce(allocation.address) === 0n, "first word is not wiped");
    check(cpu.readOnce(last) === 0n, "last word is not wiped");
    cpu.writeOnce(allocation.address, allocation.stamp);
    cpu.writeOnce(last, allocation.stamp);
    live.push(allocation);
  };
  const release = () => {
    const [{ address, bytes, stamp, free }] = live.splice(random(live.length), 1);
    check(cpu.readOnce(address) === stamp, "first word was overwritten");
    check(cpu.readOnce(address + bytes - 8) === stamp, "last word was overwritten");
    if (free === "span") machine.frames.freeSpan(cpu, address);
    else if (free === "frame") machine.frames.freeFrame(cpu, address);
    else slab.free(cpu, address);
  };

  for (let operation = 0; operation < operations; operation++) {
    if (live.length > 0 && (live.length >= maxLive || random(2) === 0)) {
      release();
      continue;
    }
    try {
      allocate();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      refused++;
      if (live.length > 0) release();
    }
  }
  while (live.length > 0) release();
  return { allocations: serial, refused };
});
