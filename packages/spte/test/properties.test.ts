import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkSpteWritableInvariants,
  createSpteFormat,
  describeSpteChange,
  explainSpte,
  getMmioSpteAccess,
  getMmioSpteGeneration,
  getMmioSpteGfn,
  isAccessTrackSpte,
  isEptVePossible,
  isFrozenSpte,
  isMmioSpte,
  isRsvdSpte,
  isShadowPresentPte,
  isWritablePte,
  linux73,
  linux615,
  type MakeSpteInput,
  makeHugeSpte,
  makeMmioSpte,
  makeNonleafSpte,
  makeRole,
  makeSmallSpte,
  makeSpte,
  markSpteForAccessTrack,
  type PgLevel,
  resetShadowZeroBitsMask,
  restoreAccTrackSpte,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  type SpteFormat,
  spteNeedsAtomicUpdate,
  spteNeedsAtomicUpdateUnder,
  spteToPfn,
  toGfn,
  toPfn,
  toSpte,
} from "../src/index.js";
import { allFormats } from "./formats.js";
import { makeSpteInput } from "./make-spte-input.js";

const formats = fc.constantFrom(...allFormats);
const words = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(toSpte);

/** Frame numbers below the physical address width that an entry of the level may point to. */
function pfns(format: SpteFormat, level: PgLevel) {
  const bits = format.host.x86PhysBits - 12 - (level - 1) * 9;
  return fc.integer({ min: 0, max: 2 ** bits - 1 }).map((n) => toPfn(n * 512 ** (level - 1)));
}

/** Inputs as KVM's own code could pass them: A/D by the hardware, readable, memory types of the vendor hook. */
function inputs(format: SpteFormat, level: PgLevel): fc.Arbitrary<MakeSpteInput> {
  const { accAll, accReadMask, accExecMask } = format.rules;
  const readable = accReadMask | (format.mode === "ept" && accReadMask === 0 ? 4 : 0);
  return fc
    .record({
      pfn: pfns(format, level),
      pteAccess: fc.integer({ min: 0, max: accAll }).map((access) => access | readable | accExecMask),
      prefetch: fc.boolean(),
      synchronizing: fc.boolean(),
      hostWritable: fc.boolean(),
      nxHugePageMitigation: fc.boolean(),
      isMmioPfn: fc.boolean(),
      memoryType: fc.constantFrom(0n, 0x30n, 0x70n),
      denied: fc.boolean(),
    })
    .map(({ denied, ...changes }) =>
      makeSpteInput(format, { ...changes, level, tryToUnsyncPages: () => (denied ? 1 : 0) }),
    );
}

/** A format and a level at which it has leaves: PAE entries of level 3 are no leaves. */
const formatsAndLevels = formats.chain((format) =>
  fc.tuple(
    fc.constant(format),
    fc.constantFrom<PgLevel>(...((format.mode === "pae" ? [1, 2] : [1, 2, 3]) as PgLevel[])),
  ),
);

/** A format, a level and a leaf that `makeSpte` builds under them. */
const leaves = formatsAndLevels.chain(([format, level]) =>
  inputs(format, level).map((input) => ({ format, level, spte: makeSpte(format, input).spte })),
);

/** No constructor may yield one of these. */
function expectUsable(format: SpteFormat, spte: Spte): void {
  expect(isFrozenSpte(format, spte)).toBe(false);
  expect(spte).not.toBe(SHADOW_NONPRESENT_VALUE);
  expect(isEptVePossible(format, spte)).toBe(false);
  expect(BigInt.asUintN(64, spte)).toBe(spte);
}

describe("access tracking", () => {
  it("is idempotent on every 64-bit word", () => {
    fc.assert(
      fc.property(formats, words, (format, spte) => {
        const marked = markSpteForAccessTrack(format, spte);
        return markSpteForAccessTrack(format, marked) === marked;
      }),
    );
  });

  it("gives back everything but W and A", () => {
    fc.assert(
      fc.property(leaves, ({ format, spte }) => {
        fc.pre(format.shadowAccTrackMask !== 0n && !format.kvmAdEnabled && !isAccessTrackSpte(format, spte));
        const back = restoreAccTrackSpte(format, markSpteForAccessTrack(format, spte));
        const lost = isWritablePte(spte) ? 2n : 0n;
        expect(back | lost | format.shadowAccessedMask).toBe(spte | format.shadowAccessedMask);
      }),
    );
  });

  it("changes permissions, A and their saved copies, nothing else", () => {
    fc.assert(
      fc.property(leaves, ({ format, spte }) => {
        const { accTrackSavedBitsMask, accTrackSavedBitsShift } = format.rules;
        const may =
          format.shadowAccTrackMask |
          format.shadowAccessedMask |
          (format.shadowAccTrackMask === 0n ? 0n : accTrackSavedBitsMask << accTrackSavedBitsShift);
        expect((spte ^ markSpteForAccessTrack(format, spte)) & ~may).toBe(0n);
      }),
    );
  });
});

describe("MMIO entries", () => {
  const cases = formats.chain((format) =>
    fc.record({
      format: fc.constant(format),
      gfn: fc.integer({ min: 0, max: 2 ** (format.host.x86PhysBits - 12) - 1 }).map(toGfn),
      access: fc.integer({ min: 0, max: format.rules.accAll }),
      generation: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    }),
  );

  it("decode to what they were made of", () => {
    fc.assert(
      fc.property(cases, ({ format, gfn, access, generation }) => {
        const spte = makeMmioSpte(format, gfn, access, generation);
        expect(getMmioSpteGfn(format, spte)).toBe(gfn);
        expect(getMmioSpteAccess(format, spte)).toBe(access & Number(format.shadowMmioAccessMask));
        expect(getMmioSpteGeneration(format, spte)).toBe(generation & format.rules.mmioGeneration.mask);
      }),
    );
  });

  it("are MMIO, not present, not frozen, and usable", () => {
    fc.assert(
      fc.property(cases, ({ format, gfn, access, generation }) => {
        const spte = makeMmioSpte(format, gfn, access, generation);
        expect(isMmioSpte(format, spte)).toBe(true);
        expect(isShadowPresentPte(spte)).toBe(false);
        expectUsable(format, spte);
      }),
    );
  });

  it.each(allFormats.filter((format) => format.enableMmioCaching))(
    "$mode: every single gfn bit survives",
    (format) => {
      for (let bit = 0; bit < format.host.x86PhysBits - 12; bit++) {
        const gfn = toGfn(2 ** bit);
        expect(getMmioSpteGfn(format, makeMmioSpte(format, gfn, 0, 0n))).toBe(gfn);
      }
    },
  );
});

describe("constructors", () => {
  it("makeSpte yields a usable leaf that holds the writability invariants and the pfn", () => {
    const cases = formatsAndLevels.chain(([format, level]) =>
      inputs(format, level).map((input) => ({ format, input })),
    );
    fc.assert(
      fc.property(cases, ({ format, input }) => {
        const { spte } = makeSpte(format, input);
        expectUsable(format, spte);
        expect(isShadowPresentPte(spte)).toBe(true);
        expect(checkSpteWritableInvariants(format, spte)).toBe(true);
        expect(spteToPfn(format, spte)).toBe(input.pfn);
        expect(explainSpte(format, spte, input.level).kind).toBe("leaf");
      }),
    );
  });

  it("makeSpte sets no reserved bit", () => {
    fc.assert(
      fc.property(leaves, ({ format, level, spte }) => {
        const execOnlyLeaf = format.mode === "ept" && (spte & 1n) === 0n && !isAccessTrackSpte(format, spte);
        fc.pre(!execOnlyLeaf);
        expect(isRsvdSpte(format, resetShadowZeroBitsMask(format, 4), spte, level)).toBe(false);
      }),
    );
  });

  it("makeNonleafSpte yields a usable non-leaf", () => {
    fc.assert(
      fc.property(formats, fc.nat({ max: 2 ** 20 }), fc.boolean(), (format, frame, adDisabled) => {
        const spte = makeNonleafSpte(format, BigInt(frame) << 12n, adDisabled && format.mode === "ept");
        expectUsable(format, spte);
        expect(spteToPfn(format, spte)).toBe(frame);
        expect(explainSpte(format, spte).kind).toBe("non-leaf");
      }),
    );
  });
});

describe("splitting and recovering", () => {
  const hugeLeaves = leaves.filter(({ level }) => level > 1);

  it("the 512 small entries tile the huge range exactly, and each leads back", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(hugeLeaves, ({ format, level, spte }) => {
        const childLevel = (level - 1) as PgLevel;
        const role = makeRole(format.rules, { level: childLevel, access: format.rules.accAll });
        const first = spteToPfn(format, spte);
        for (let index = 0; index < 512; index++) {
          const small = makeSmallSpte(format, spte, role, index, false);
          if (spteToPfn(format, small) !== first + index * 512 ** (childLevel - 1)) return false;
          if (makeHugeSpte(format, small, level, false) !== spte) return false;
        }
        return true;
      }),
      { numRuns: 40 },
    );
  });

  it("yields usable leaves under the mitigation too", () => {
    fc.assert(
      fc.property(hugeLeaves, fc.nat({ max: 511 }), ({ format, level, spte }, index) => {
        const role = makeRole(format.rules, { level: (level - 1) as PgLevel, access: format.rules.accAll });
        const small = makeSmallSpte(format, spte, role, index, true);
        expectUsable(format, small);
        expectUsable(format, makeHugeSpte(format, small, level, true));
      }),
    );
  });
});

describe("mask set-up refuses unusable MMIO masks", () => {
  it.each([linux615, linux73])("$name keeps the default frozen value out", (ruleSet) => {
    for (const format of allFormats.filter(({ rules }) => rules === ruleSet)) {
      expect(isMmioSpte(format, format.frozenSpte)).toBe(false);
      expect(isMmioSpte(format, SHADOW_NONPRESENT_VALUE)).toBe(false);
    }
  });
});

describe("volatility", () => {
  it("the form by rule set and the parametrised form agree on every word", () => {
    fc.assert(
      fc.property(formats, words, (format, spte) => {
        const parametrised = spteNeedsAtomicUpdateUnder(format.rules.volatileRule, format, spte);
        return spteNeedsAtomicUpdate(format, spte) === parametrised;
      }),
    );
  });
});

describe("explanations", () => {
  it("cover every set bit of every word exactly once, in every format but for MMIO marker bits", () => {
    fc.assert(
      fc.property(formats, words, (format, spte) => {
        const explanation = explainSpte(format, spte);
        fc.pre(explanation.kind !== "mmio");
        const positions = explanation.fields.flatMap(({ bits }) => expandBits(bits));
        expect(new Set(positions).size).toBe(positions.length);
        for (let bit = 0; bit < 64; bit++) {
          if ((spte >> BigInt(bit)) & 1n) expect(positions).toContain(bit);
        }
      }),
    );
  });

  it("a change is described exactly when the values differ", () => {
    const format = createSpteFormat({ mode: "ept" });
    fc.assert(
      fc.property(words, words, (before, after) => {
        expect(describeSpteChange(format, before, before)).toEqual([]);
        expect(describeSpteChange(format, before, after).length > 0).toBe(before !== after);
      }),
    );
  });
});

/** Bit positions of a text such as `62:52,3`. */
function expandBits(bits: string): number[] {
  return bits.split(",").flatMap((range) => {
    const [high, low = high] = range.split(":").map(Number) as [number, number?];
    return Array.from({ length: high - low! + 1 }, (_, offset) => low! + offset);
  });
}
