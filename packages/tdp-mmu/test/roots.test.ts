import { memberRequestsWord } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import { roleGuestMode } from "@kvm-age/spte";
import { InterferingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  createTdpMmuVcpu,
  handleMmuRequests,
  isObsoleteRoot,
  KVM_ALL_ROOTS,
  KVM_DIRECT_ROOTS,
  KVM_INVALID_ROOTS,
  KVM_VALID_ROOTS,
  type KvmMmuPage,
  kvmMmuFreeObsoleteRoots,
  kvmMmuLoad,
  kvmMmuSwitchGuestMode,
  kvmMmuUnload,
  kvmTdpMmuGetRoot,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuPutRoot,
  kvmTdpMmuZapAllFast,
  kvmTdpMmuZapInvalidatedRoots,
  RootStateError,
  rootOfVcpu,
  type TdpMmuVcpu,
  tdpMmuZapRoot,
} from "../src/index.js";
import { roleWord, rootCountWord, scheduledRootToZapWord, spRole } from "../src/page/kvm-mmu-page.js";
import { nextMatchingRoot, tdpMmuRootMatch } from "../src/root/root-list.js";
import { tdpMmuNextRoot } from "../src/root/root-reference.js";
import { Guest } from "./kit/guest.js";
import { leaves, rootOf, tables, underReadLock, underWriteLock } from "./kit/operations.js";
import { RULE_SETS } from "./kit/reference-values.js";

const NO_ROOT = 0 as KvmMmuPage;

function count(guest: Guest, root: KvmMmuPage): number {
  return guest.cpu.readOnce32(rootCountWord(root));
}

function invalidate(guest: Guest, types = KVM_VALID_ROOTS): void {
  underWriteLock(guest, guest.cpu, () => kvmTdpMmuInvalidateRoots(guest.mmu, guest.cpu, types));
}

function zapInvalidated(guest: Guest): void {
  kvmTdpMmuZapInvalidatedRoots(guest.mmu, guest.cpu, true);
}

function addVcpu(guest: Guest, id: number, smm = false): TdpMmuVcpu {
  const vcpu = createTdpMmuVcpu(guest.mmu, guest.cpu, id);
  guest.cpu.writeOnce32(vcpu.inSmmWord, smm ? 1 : 0);
  kvmMmuLoad(guest.mmu, guest.cpu, vcpu);
  return vcpu;
}

/** Roots on the list, valid or not. */
function listed(guest: Guest, asId = -1, types: number = KVM_ALL_ROOTS): KvmMmuPage[] {
  const roots: KvmMmuPage[] = [];
  let root = nextMatchingRoot(guest.mmu, guest.cpu, NO_ROOT, asId, types);
  while (root !== NO_ROOT) {
    roots.push(root);
    root = nextMatchingRoot(guest.mmu, guest.cpu, root, asId, types);
  }
  return roots;
}

describe.each([
  ["linux-7.3", 0x6f84, 0x16f84, 0x1000],
  ["linux-6.15", 0x3784, 0x13784, 0x800],
])("the role word of a root, %s", (name, withAd, withoutAd, invalid) => {
  const ruleSet = RULE_SETS.find(([candidate]) => candidate === name)![1];

  it("is that of the kernel", () => {
    const guest = new Guest({ ruleSet });
    expect(spRole(guest.cpu, rootOf(guest))).toBe(withAd);
    const tracked = new Guest({ ruleSet, adBits: false });
    expect(spRole(tracked.cpu, rootOf(tracked))).toBe(withoutAd);
    const five = new Guest({ ruleSet, rootLevel: 5 });
    expect(spRole(five.cpu, rootOf(five))).toBe(withAd + 1);
  });

  it("gets its invalid bit, and the SMM field", () => {
    const guest = new Guest({ ruleSet });
    const smm = rootOfVcpu(guest.mmu, guest.cpu, addVcpu(guest, 1, true));
    expect(spRole(guest.cpu, smm)).toBe(withAd + 0x1000000);
    invalidate(guest);
    expect(spRole(guest.cpu, rootOf(guest))).toBe(withAd | invalid);
  });
});

describe("loading", () => {
  it("gives vCPUs of one role one root, with a reference each and one for the MMU", () => {
    const guest = new Guest();
    const root = rootOf(guest);
    expect(count(guest, root)).toBe(2);
    const second = addVcpu(guest, 1);
    expect(rootOfVcpu(guest.mmu, guest.cpu, second)).toBe(root);
    expect(count(guest, root)).toBe(3);
    kvmMmuUnload(guest.mmu, guest.cpu, second);
    expect(count(guest, root)).toBe(2);
    expect(rootOfVcpu(guest.mmu, guest.cpu, second)).toBe(NO_ROOT);
  });

  it("keeps a valid root that no vCPU uses", () => {
    const guest = new Guest();
    const root = rootOf(guest);
    guest.fault(3, true);
    kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu);
    expect([count(guest, root), listed(guest)]).toEqual([1, [root]]);
    kvmMmuLoad(guest.mmu, guest.cpu, guest.vcpu);
    expect(rootOf(guest)).toBe(root);
    expect(leaves(guest)).toEqual([1, 0, 0]);
  });

  it("gives system-management mode a root of address space 1", () => {
    const guest = new Guest();
    const smm = rootOfVcpu(guest.mmu, guest.cpu, addVcpu(guest, 1, true));
    expect(smm).not.toBe(rootOf(guest));
    expect(listed(guest, 0)).toEqual([rootOf(guest)]);
    expect(listed(guest, 1)).toEqual([smm]);
  });

  it("never reuses an invalid root", () => {
    const guest = new Guest();
    const old = rootOf(guest);
    invalidate(guest);
    const fresh = rootOfVcpu(guest.mmu, guest.cpu, addVcpu(guest, 1));
    expect(fresh).not.toBe(old);
    expect(listed(guest, 0, KVM_VALID_ROOTS)).toEqual([fresh]);
    expect(listed(guest)).toEqual([fresh, old]);
  });
});

describe("invalidation", () => {
  it("asks every vCPU to drop its root, which goes after the zap and the last drop", () => {
    const guest = new Guest();
    const { cpu, mmu, vcpu } = guest;
    cpu.writeOnce32(guest.flushDomain.address, 1);
    guest.fault(3, true);
    const old = rootOf(guest);
    kvmTdpMmuZapAllFast(mmu, cpu);
    expect(tables(guest)).toBe(0);
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(count(guest, old)).toBe(1);
    const requests = cpu.readOnce32(memberRequestsWord(guest.flushDomain, 0));
    expect(requests & REQUEST_MMU_FREE_OBSOLETE_ROOTS).not.toBe(0);
    handleMmuRequests(mmu, cpu, vcpu, requests);
    expect(rootOf(guest)).toBe(NO_ROOT);
    expect(listed(guest)).toEqual([]);
  });

  it("leaves the root if nobody asked", () => {
    const guest = new Guest();
    invalidate(guest);
    handleMmuRequests(guest.mmu, guest.cpu, guest.vcpu, 0);
    expect(rootOf(guest)).not.toBe(NO_ROOT);
    expect(isObsoleteRoot(guest.mmu, guest.cpu, rootOf(guest))).toBe(true);
  });

  it("lets the vCPU drop first: the zap then frees", () => {
    const guest = new Guest();
    guest.fault(3, true);
    const old = rootOf(guest);
    invalidate(guest);
    kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu);
    expect(count(guest, old)).toBe(1);
    expect(leaves(guest)).toEqual([1, 0, 0]);
    zapInvalidated(guest);
    expect(leaves(guest)).toEqual([0, 0, 0]);
    expect(listed(guest)).toEqual([]);
  });

  it("twice does not zap or put twice", () => {
    const guest = new Guest();
    const old = rootOf(guest);
    invalidate(guest);
    zapInvalidated(guest);
    invalidate(guest);
    expect(guest.cpu.readOnce32(scheduledRootToZapWord(old))).toBe(0);
    zapInvalidated(guest);
    expect(count(guest, old)).toBe(1);
    kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu);
    expect(listed(guest)).toEqual([]);
  });

  it("twice before the zap is one", () => {
    const guest = new Guest();
    const old = rootOf(guest);
    invalidate(guest);
    invalidate(guest);
    zapInvalidated(guest);
    expect(count(guest, old)).toBe(1);
  });

  it("of invalid roots only is nothing", () => {
    const guest = new Guest();
    invalidate(guest, KVM_INVALID_ROOTS);
    expect(isObsoleteRoot(guest.mmu, guest.cpu, rootOf(guest))).toBe(false);
  });

  it("frees only after the readers that could see the root are gone", () => {
    const guest = new Guest();
    const { cpu, mmu, vcpu, machine } = guest;
    const reader = machine.attach();
    vcpu.shadowPageCache.drain(cpu);
    const before = machine.frames.allocatedFrames(cpu);
    reader.rcuReadLock();
    kvmTdpMmuZapAllFast(mmu, cpu);
    kvmMmuFreeObsoleteRoots(mmu, cpu, vcpu);
    for (let section = 0; section < 200; section++) {
      cpu.rcuReadLock();
      cpu.rcuReadUnlock();
    }
    expect(machine.frames.allocatedFrames(cpu)).toBe(before);
    reader.rcuReadUnlock();
    cpu.rcuBarrier();
    expect(machine.frames.allocatedFrames(cpu)).toBe(before - 1);
  });
});

describe("references", () => {
  it("cannot be taken once the count is zero, and the iterator skips such a root", () => {
    const guest = new Guest();
    const old = rootOf(guest);
    invalidate(guest);
    const fresh = rootOfVcpu(guest.mmu, guest.cpu, addVcpu(guest, 1));
    guest.cpu.writeOnce32(rootCountWord(fresh), 0);
    expect(kvmTdpMmuGetRoot(guest.cpu, fresh)).toBe(false);
    const first = underReadLock(guest, guest.cpu, () =>
      tdpMmuNextRoot(guest.mmu, guest.cpu, NO_ROOT, -1, KVM_ALL_ROOTS),
    );
    expect(first).toBe(old);
    expect(count(guest, old)).toBe(3);
  });

  it("move with the iterator: one at a time, none at the end", () => {
    const guest = new Guest();
    const smm = rootOfVcpu(guest.mmu, guest.cpu, addVcpu(guest, 1, true));
    const counts = (): number[] => [count(guest, smm), count(guest, rootOf(guest))];
    underReadLock(guest, guest.cpu, () => {
      let root = tdpMmuNextRoot(guest.mmu, guest.cpu, NO_ROOT, -1, KVM_VALID_ROOTS);
      expect(root).toBe(smm);
      expect(counts()).toEqual([3, 2]);
      root = tdpMmuNextRoot(guest.mmu, guest.cpu, root, -1, KVM_VALID_ROOTS);
      expect(root).toBe(rootOf(guest));
      expect(counts()).toEqual([2, 3]);
      expect(tdpMmuNextRoot(guest.mmu, guest.cpu, root, -1, KVM_VALID_ROOTS)).toBe(NO_ROOT);
      expect(counts()).toEqual([2, 2]);
    });
  });

  it("to a valid root must not run out", () => {
    const guest = new Guest();
    const root = rootOf(guest);
    kvmTdpMmuPutRoot(guest.mmu, guest.cpu, root);
    expect(() => kvmTdpMmuPutRoot(guest.mmu, guest.cpu, root)).toThrow(RootStateError);
  });

  it("cannot be put below zero", () => {
    const guest = new Guest();
    guest.cpu.writeOnce32(rootCountWord(rootOf(guest)), 0);
    expect(() => kvmTdpMmuPutRoot(guest.mmu, guest.cpu, rootOf(guest))).toThrow(/below zero/);
  });

  it("are needed to zap a root", () => {
    const guest = new Guest();
    guest.cpu.writeOnce32(rootCountWord(rootOf(guest)), 0);
    expect(() => tdpMmuZapRoot(guest.mmu, guest.cpu, rootOf(guest), false)).toThrow(RootStateError);
  });
});

it("a root scheduled to be zapped but valid is a bug", () => {
  const guest = new Guest();
  guest.cpu.writeOnce32(scheduledRootToZapWord(rootOf(guest)), 1);
  expect(() => zapInvalidated(guest)).toThrow(/valid root is scheduled/);
});

describe("which roots match which types", () => {
  it.each([
    ["valid", KVM_VALID_ROOTS, true],
    ["valid", KVM_ALL_ROOTS, true],
    ["valid", KVM_INVALID_ROOTS, false],
    ["valid", 0, false],
    ["invalid", KVM_VALID_ROOTS, false],
    ["invalid", KVM_ALL_ROOTS, true],
    ["invalid", KVM_DIRECT_ROOTS | KVM_INVALID_ROOTS, true],
    ["invalid", KVM_INVALID_ROOTS, false],
  ])("%s root, types %i: %s", (state, types, expected) => {
    const guest = new Guest();
    if (state === "invalid") invalidate(guest);
    const root = rootOf(guest);
    expect(tdpMmuRootMatch(guest.mmu, guest.cpu, root, -1, types)).toBe(expected);
    expect(tdpMmuRootMatch(guest.mmu, guest.cpu, root, 0, types)).toBe(expected);
    expect(tdpMmuRootMatch(guest.mmu, guest.cpu, root, 1, types)).toBe(false);
  });
});

it("a second valid root of one role is never made, even if two vCPUs look at once", () => {
  const guest = new Guest();
  invalidate(guest);
  const first = rootOfVcpu(guest.mmu, guest.cpu, addVcpu(guest, 1));
  // The first look misses; somebody else's root is on the list by the second.
  const role = spRole(guest.cpu, first);
  guest.cpu.writeOnce32(roleWord(first), 0);
  const late = createTdpMmuVcpu(guest.mmu, guest.cpu, 2);
  const act = (): void => guest.cpu.writeOnce32(roleWord(first), role);
  const address = guest.mmu.pagesLock.address;
  const racing = new InterferingCpu(guest.cpu, [{ step: "spinLock", address, act }]);
  kvmMmuLoad(guest.mmu, racing, late);
  expect(racing.happened).toBe(1);
  expect(rootOfVcpu(guest.mmu, guest.cpu, late)).toBe(first);
  expect(count(guest, first)).toBe(3);
});

describe("a nested guest without nested paging", () => {
  it("has a root of its own, and the vCPU finds both again as they were", () => {
    const guest = new Guest();
    const vcpu = addVcpu(guest, 1);
    const outer = rootOfVcpu(guest.mmu, guest.cpu, vcpu);
    kvmMmuSwitchGuestMode(guest.mmu, guest.cpu, vcpu, true);
    kvmMmuLoad(guest.mmu, guest.cpu, vcpu);
    const inner = rootOfVcpu(guest.mmu, guest.cpu, vcpu);
    expect(inner).not.toBe(outer);
    expect(roleGuestMode(spRole(guest.cpu, inner))).toBe(true);
    expect(roleGuestMode(spRole(guest.cpu, outer))).toBe(false);
    kvmMmuSwitchGuestMode(guest.mmu, guest.cpu, vcpu, false);
    kvmMmuLoad(guest.mmu, guest.cpu, vcpu);
    expect(rootOfVcpu(guest.mmu, guest.cpu, vcpu)).toBe(outer);
    expect(listed(guest)).toContain(inner);
  });
});
