import { type Address, ForwardingCpu, memberRequestsWord, type RwLock } from "@kvm-age/machine";
import { kvmMmuInvalidateEnd, kvmMmuInvalidateRangeAdd, kvmMmuInvalidateStart } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { type Gfn, isShadowPresentPte, linux73, linux615, spteToPfn } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { kvmMmuUnprotectGfn } from "../../src/guest-write/kvm-mmu-unprotect-gfn.js";
import { kvmWriteGuestPte } from "../../src/guest-write/kvm-write-guest-pte.js";
import { handleShadowMmuRequests } from "../../src/root/handle-shadow-mmu-requests.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import { violations } from "./kit/check.js";
import { A, D, GuestTables, P, U, W } from "./kit/guest-tables.js";
import { longMode } from "./kit/registers.js";
import { lastStep, leafOf, shadowPath } from "./kit/shadow-path.js";

const WRITE = 2;
const GVA = 0x7f12_3456_7000;
const LEAF = P | W | U | A | D;

/** Lets another processor act before chosen steps of one vCPU's fault. */
class InterruptedCpu extends ForwardingCpu {
  beforeWriteLock: () => void = () => {};
  afterRead: (address: Address) => void = () => {};
  reads = 0;

  override writeLock(lock: RwLock): void {
    const act = this.beforeWriteLock;
    this.beforeWriteLock = () => {};
    act();
    super.writeLock(lock);
  }

  override readOnce(address: Address): bigint {
    this.reads++;
    const value = super.readOnce(address);
    this.afterRead(address);
    return value;
  }
}

function guestWithPage(ruleSet = linux73) {
  const guest = new ShadowGuest({ ruleSet });
  const tables = new GuestTables(guest, 4, P | W | U | A);
  tables.map(GVA, 300, LEAF);
  guest.load(longMode());
  const cpu = new InterruptedCpu(guest.cpu);
  const fault = () => guest.fault(GVA, WRITE, guest.vcpu, cpu);
  return { guest, tables, cpu, fault };
}

describe.each([linux73, linux615])(
  "the guest edits its tables between the walk and the lock, $name",
  (ruleSet) => {
    it.each([4, 3, 2, 1])(
      "the entry of level %i: nothing is mapped through it; the next fault follows",
      (level) => {
        const { guest, tables, cpu, fault } = guestWithPage(ruleSet);
        const gpa = tables.entry(GVA, level);
        cpu.beforeWriteLock = () => {
          if (level === 1) return guest.poke(gpa, (310n << 12n) | LEAF);
          const from = tables.tableGfn(GVA, level - 1);
          for (let at = 0; at < 4096; at += 8) guest.poke(100 * 4096 + at, guest.peek(from * 4096 + at));
          guest.poke(gpa, (100n << 12n) | P | W | U | A);
        };
        expect(fault()).toMatchObject({ ret: RetPf.retry, guestFault: null, errno: null });
        expect(leafOf(guest, GVA)).toBeNull();
        expect(guest.host.released).toEqual({ unused: 1, clean: 0, dirty: 0 });
        expect(violations(guest)).toEqual([]);
        expect(fault().ret).toBe(RetPf.fixed);
        const expected = level === 1 ? 310 : 300;
        expect(spteToPfn(guest.format, lastStep(guest, GVA).spte)).toBe(guest.host.pfnOf(expected));
        expect(violations(guest)).toEqual([]);
      },
    );

    it("a table that cannot be read under the lock: again", () => {
      const { guest, tables, cpu, fault } = guestWithPage(ruleSet);
      cpu.beforeWriteLock = () => guest.host.missing.add(tables.tableGfn(GVA, 2));
      expect(fault().ret).toBe(RetPf.retry);
      guest.host.missing.clear();
      expect(fault().ret).toBe(RetPf.fixed);
    });
  },
);

describe("an emulated write and a fault that shadows the table at the same time", () => {
  /** Every moment of the fault, in reads; the writer acts there as far as it can: it waits for nobody. */
  it.each([1, 2])("at level %i, before any read of the fault: never a stale page", (level) => {
    const moments = (() => {
      const { cpu, fault } = guestWithPage();
      fault();
      return cpu.reads;
    })();
    for (let moment = 1; moment <= moments; moment++) {
      const { guest, tables, cpu, fault } = guestWithPage();
      const gpa = tables.entry(GVA, level);
      let locked = false;
      let written = false;
      const write = () => {
        written = true;
        const value = level === 1 ? (310n << 12n) | LEAF : 0n;
        guest.inSrcu(() => kvmWriteGuestPte(guest.mmu, guest.cpu, guest.vcpu, gpa, 8, value));
      };
      // While the fault holds the lock the writer stores at once, and gets the lock when the fault is done.
      const storeNow = () => {
        if (level === 1) guest.poke(gpa, (310n << 12n) | LEAF);
        else guest.poke(gpa, 0n);
      };
      cpu.beforeWriteLock = () => {
        locked = true;
      };
      cpu.afterRead = () => {
        if (cpu.reads !== moment) return;
        if (locked) storeNow();
        else write();
      };
      fault();
      if (!written) write();
      cpu.afterRead = () => {};
      const step = lastStep(guest, GVA);
      const isPresent = isShadowPresentPte(step.spte);
      const stale = isPresent && spteToPfn(guest.format, step.spte) !== guest.host.pfnOf(310);
      expect([moment, stale || (level === 2 && shadowPath(guest, GVA).length === 4)]).toEqual([
        moment,
        false,
      ]);
      expect(violations(guest)).toEqual([]);
    }
  });
});

describe("roots and host pages change between the lookup and the lock", () => {
  it("the root is given up: again, under a new root", () => {
    const { guest, tables, cpu, fault } = guestWithPage();
    const { mmu, vcpu } = guest;
    cpu.beforeWriteLock = () => {
      guest.inSrcu(() => kvmMmuUnprotectGfn(mmu, guest.cpu, tables.rootGfn as Gfn));
    };
    expect(fault().ret).toBe(RetPf.retry);
    expect(guest.host.released).toEqual({ unused: 1, clean: 0, dirty: 0 });
    // Nothing can be mapped until the vCPU has served the request.
    expect(fault().ret).toBe(RetPf.retry);
    const requests = guest.cpu.xchg32(memberRequestsWord(guest.flushDomain, vcpu.id), 0, "full");
    guest.inSrcu(() => handleShadowMmuRequests(mmu, guest.cpu, vcpu, requests));
    guest.reload();
    expect(fault().ret).toBe(RetPf.fixed);
    expect(violations(guest)).toEqual([]);
  });

  it("an invalidation of the page: again", () => {
    const { guest, cpu, fault } = guestWithPage();
    const { memslots } = guest;
    cpu.beforeWriteLock = () => {
      guest.underWriteLock(() => {
        kvmMmuInvalidateStart(memslots, guest.cpu);
        kvmMmuInvalidateRangeAdd(memslots, guest.cpu, 300 as Gfn, 301 as Gfn);
      });
    };
    expect(fault().ret).toBe(RetPf.retry);
    // Still open: even the lookup is saved.
    expect(fault().ret).toBe(RetPf.retry);
    guest.underWriteLock(() => kvmMmuInvalidateEnd(memslots, guest.cpu));
    expect(fault().ret).toBe(RetPf.fixed);
    expect(violations(guest)).toEqual([]);
  });
});
