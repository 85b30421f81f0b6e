import { describe, expect, it } from "vitest";
import { attachHostMm, MmuNotifierEvent, SubscriberMissingError } from "../src/index.js";
import { makeHost, PAGE, populate, RecordingSubscriber } from "./support.js";

function twoSubscribers() {
  const host = makeHost();
  const first = new RecordingSubscriber("first");
  const second = new RecordingSubscriber("second");
  host.hostMm.notifiers.register(host.cpu, first);
  host.hostMm.notifiers.register(host.cpu, second);
  return { ...host, first, second, chain: host.hostMm.notifiers };
}

describe("MmuNotifierChain", () => {
  it.each(["clearYoung", "clearFlushYoung"] as const)("%s calls all and ORs the answers", (call) => {
    for (const [a, b] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const) {
      const { chain, cpu, first, second } = twoSubscribers();
      first.young = a;
      second.young = b;
      expect(chain[call](cpu, 0x1000, 0x2000)).toBe(a || b);
      expect(first.log).toEqual([`first.${call} 0x1000 0x2000`]);
      expect(second.log).toEqual([`second.${call} 0x1000 0x2000`]);
    }
  });

  it("testYoung stops at the first true", () => {
    const { chain, cpu, first, second } = twoSubscribers();
    first.young = true;
    expect(chain.testYoung(cpu, 0x1234)).toBe(true);
    expect(second.log).toEqual([]);
    first.young = false;
    second.young = true;
    expect(chain.testYoung(cpu, 0x1234)).toBe(true);
    expect(first.log).toHaveLength(2);
    second.young = false;
    expect(chain.testYoung(cpu, 0x1234)).toBe(false);
  });

  it("calls all for start, end and release, in order of registration", () => {
    const { chain, cpu, first, second } = twoSubscribers();
    const range = { start: 0x1000, end: 0x3000, blockable: true, event: MmuNotifierEvent.CLEAR };
    chain.invalidateRangeStart(cpu, range);
    chain.invalidateRangeEnd(cpu, range);
    chain.release(cpu);
    expect(first.log).toEqual([
      "first.start 0x1000 0x3000 0x1",
      "first.end 0x1000 0x3000 0x1",
      "first.release",
    ]);
    expect(second.log.map((line) => line.replace("second", "first"))).toEqual(first.log);
  });

  it("mmHasNotifiers is true once a subscriber was registered, in every thread", () => {
    const host = makeHost();
    const other = attachHostMm(host.machine, structuredClone(host.hostMm.handle));
    expect(other.notifiers.mmHasNotifiers(host.cpu)).toBe(false);
    expect(host.hostMm.notifiers.testYoung(host.cpu, 0)).toBe(false);
    host.hostMm.notifiers.register(host.cpu, new RecordingSubscriber());
    expect(other.notifiers.mmHasNotifiers(host.cpu)).toBe(true);
  });

  it("refuses to notify from a thread in which a subscriber is missing", () => {
    const host = makeHost();
    const base = populate(host, 1);
    const other = attachHostMm(host.machine, host.hostMm.handle);
    host.hostMm.notifiers.register(host.cpu, new RecordingSubscriber());
    expect(() => other.munmap(host.machine.attach(), base, PAGE)).toThrow(SubscriberMissingError);
    expect(() => other.notifiers.clearYoung(host.cpu, 0, 1)).toThrow("0 MMU-notifier subscriber(s)");
  });

  it("is inside an SRCU read section while it calls", () => {
    const host = makeHost();
    const subscriber = new RecordingSubscriber();
    host.hostMm.notifiers.register(host.cpu, subscriber);
    const events: string[] = [];
    const spy = Object.create(host.cpu) as typeof host.cpu;
    spy.srcuReadLock = (srcu) => {
      events.push("lock");
      return host.cpu.srcuReadLock(srcu);
    };
    spy.srcuReadUnlock = (srcu, index) => {
      events.push(`unlock after ${subscriber.log.length}`);
      host.cpu.srcuReadUnlock(srcu, index);
    };
    host.hostMm.notifiers.clearYoung(spy, 0, 4096);
    expect(events).toEqual(["lock", "unlock after 1"]);
  });
});
