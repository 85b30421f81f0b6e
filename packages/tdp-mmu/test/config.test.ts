import { RetPf } from "@kvm-age/page-fault";
import { createSpteFormat, type MmuMode } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import {
  attachTdpMmu,
  createTdpMmu,
  defaultTdpMmuOptions,
  TdpMmuConfigError,
  type TdpMmuInit,
  TdpMmuVcpu,
} from "../src/index.js";
import { Guest } from "./kit/guest.js";
import { age, leaves } from "./kit/operations.js";
import { FORMATS } from "./kit/reference-values.js";

function create(init: TdpMmuInit): unknown {
  const guest = new Guest();
  return createTdpMmu(guest.cpu, guest.machine, guest, init);
}

describe("a configuration that makes no sense", () => {
  it.each(["shadow", "pae"] as MmuMode[])("mode %s", (mode) => {
    expect(() => create({ format: createSpteFormat({ mode }) })).toThrow(TdpMmuConfigError);
    expect(() => create({ format: createSpteFormat({ mode }) })).toThrow(
      `format.mode: ${mode} is not one of "ept", "npt"`,
    );
  });

  it.each([3, 6, 4.5, Number.NaN])("root level %d", (rootLevel) => {
    const format = createSpteFormat({ mode: "ept" });
    expect(() => create({ format, rootLevel: rootLevel as never })).toThrow(TdpMmuConfigError);
  });

  it.each([-1, 0.5, Number.NaN])("recovery ratio %d", (nxHugePagesRecoveryRatio) => {
    const format = createSpteFormat({ mode: "ept" });
    expect(() => create({ format, options: { nxHugePagesRecoveryRatio } })).toThrow(
      /nxHugePagesRecoveryRatio/,
    );
  });
});

it("the error carries the field, the value and what is allowed", () => {
  try {
    create({ format: createSpteFormat({ mode: "ept" }), rootLevel: 3 as never });
    expect.unreachable();
  } catch (error) {
    expect(error).toMatchObject({
      name: "TdpMmuConfigError",
      field: "rootLevel",
      value: 3,
      allowed: "4 or 5",
    });
  }
});

it("options left out have their defaults", () => {
  const guest = new Guest({ options: { eagerPageSplit: false } });
  expect(guest.mmu.options).toEqual({ ...defaultTdpMmuOptions, eagerPageSplit: false });
});

describe.each(FORMATS)("another thread's view, $name", (reference) => {
  it("is made from plain data and sees the same MMU", () => {
    const guest = new Guest(reference.init);
    guest.fault(3, true);
    const handle = structuredClone(guest.mmu.handle);
    const mmu = attachTdpMmu(guest.machine, handle, guest);
    expect(mmu.statistics.read(guest.cpu)).toEqual(guest.mmu.statistics.read(guest.cpu));
    const view = Object.assign(Object.create(Guest.prototype) as Guest, guest, {
      mmu,
      vcpu: new TdpMmuVcpu(mmu, 0, guest.vcpu.address),
    });
    expect(view.faultWithCode(4, 2)).toBe(RetPf.fixed);
    expect(age(view, 3, 5)).toBe(true);
    expect(age(guest, 3, 5)).toBe(false);
    expect(leaves(guest)).toEqual([2, 0, 0]);
  });
});
