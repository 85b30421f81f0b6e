import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkShadowPageInvariants } from "../../src/check/check-shadow-page-invariants.js";
import { checkShadowSpteInvariants } from "../../src/check/check-shadow-spte-invariants.js";
import { kvmMmuUnload } from "../../src/root/kvm-mmu-unload.js";
import { kvmMmuZapAll } from "../../src/zap/kvm-mmu-zap-all.js";
import { ADDRESSES, FLAGS, RandomGuest, TARGETS } from "./kit/random-guest.js";

/** One thing that happens to the guest, in words and as a function. */
interface Step {
  readonly words: string;
  readonly run: (guest: RandomGuest) => void;
}

const address = fc.constantFrom(...ADDRESSES);

const accessStep = fc.tuple(address, fc.boolean()).map(
  ([addr, write]): Step => ({
    words: `${write ? "write" : "read"} 0x${addr.toString(16)}`,
    run: (guest) => guest.access(addr, write),
  }),
);

const mapStep = fc
  .tuple(fc.constantFrom(0, 1), address, fc.constantFrom(...TARGETS), fc.constantFrom(...FLAGS))
  .map(
    ([root, addr, gfn, flags]): Step => ({
      words: `map 0x${addr.toString(16)} of root ${root} to gfn ${gfn}, flags 0x${flags.toString(16)}`,
      run: (guest) => guest.map(root, addr, gfn, flags),
    }),
  );

const switchStep = fc
  .constantFrom(0, 1)
  .map((root): Step => ({ words: `root ${root}`, run: (guest) => guest.switchTo(root) }));

const invlpgStep = address.map(
  (addr): Step => ({ words: `invlpg 0x${addr.toString(16)}`, run: (guest) => guest.invlpg(addr) }),
);

const quotaStep = fc
  .integer({ min: 4, max: 16 })
  .map((pages): Step => ({ words: `quota ${pages}`, run: (guest) => guest.changeQuota(pages) }));

const rareStep = fc.constantFrom<Step>(
  { words: "flush", run: (guest) => guest.flush() },
  { words: "zap all fast", run: (guest) => guest.zapAllFast() },
  { words: "slot recreated", run: (guest) => guest.recreateSlot() },
);

const step = fc.oneof(
  { weight: 8, arbitrary: accessStep },
  { weight: 5, arbitrary: mapStep },
  { weight: 2, arbitrary: switchStep },
  { weight: 1, arbitrary: invlpgStep },
  { weight: 1, arbitrary: quotaStep },
  { weight: 1, arbitrary: rareStep },
);

const script = fc.array(step, { minLength: 10, maxLength: 40, size: "max" });
const show = (steps: readonly Step[]): string => steps.map(({ words }) => words).join("; ");

function run(nested: boolean, steps: readonly Step[]): void {
  const guest = new RandomGuest(nested);
  const { mmu, cpu } = guest.guest;
  for (const { run: act, words } of steps) {
    act(guest);
    const violations = checkShadowPageInvariants(mmu, cpu);
    if (violations.length > 0)
      throw new Error(`after "${words}" of: ${show(steps)}\n${violations.join("\n")}`);
  }
  expect(checkShadowSpteInvariants(mmu, cpu), show(steps)).toEqual([]);
  guest.flush();
  expect(guest.staleTranslations(), show(steps)).toEqual([]);
  tearDown(guest, steps);
}

/** Nothing is left of a VM that goes. */
function tearDown({ guest }: RandomGuest, steps: readonly Step[]): void {
  const { mmu, cpu, vcpu } = guest;
  guest.inSrcu(() => kvmMmuUnload(mmu, cpu, vcpu));
  guest.underWriteLock(() => kvmMmuZapAll(mmu, cpu));
  vcpu.pageHeaderCache.drain(cpu);
  vcpu.pteListDescCache.drain(cpu);
  const left = [mmu.headers, mmu.rmaps.descriptors].map((slab) => slab.allocatedObjects(cpu));
  expect(
    [...left, cpu.readOnce32(mmu.nUsedMmuPagesWord), cpu.readOnce32(mmu.indirectShadowPagesWord)],
    show(steps),
  ).toEqual([0, 0, 0, 0]);
}

describe.each([
  ["shadow paging", false],
  ["nested paging", true],
])("a guest that does what it may, under %s", (_name, nested) => {
  it("leaves shadow pages sound after every step, and nothing stale after a flush", () => {
    fc.assert(
      fc.property(script, (steps) => run(nested, steps)),
      { numRuns: 60, seed: 20260 },
    );
  }, 120_000);
});
