import { describe, expect, test } from "vitest";
import { firstPageOfSet, NESTED_SETS, nestedSetOf } from "../../src/actors/programs/nested/nested-sets.js";
import { nestedFailedChecks } from "../../src/scenarios/nested-checks.js";
import { nestedMeasures } from "../../src/scenarios/nested-measures.js";
import { nestedText } from "../../src/scenarios/nested-text.js";
import { plainStyle } from "../../src/terminal/style.js";
import { checkedPass, nestedResult } from "../results/results.js";

describe("sets of nested", () => {
  test("divide the memory of every vCPU, and of nobody else", () => {
    const sets = { vcpus: 2, pagesPerSet: 3 };
    const owners = Array.from({ length: 24 }, (_, page) => NESTED_SETS[nestedSetOf(sets, page)]!);
    const part = NESTED_SETS.flatMap((set) => [set, set, set]);
    expect(owners).toEqual([...part, ...part]);
    for (const set of NESTED_SETS) {
      for (const vcpu of [0, 1]) {
        const page = firstPageOfSet(sets, vcpu, set);
        expect([owners[page], page >= vcpu * 12, page < (vcpu + 1) * 12]).toEqual([set, true, true]);
      }
    }
  });
});

describe("checks of nested", () => {
  test("pass a run in which every page was called what it was", () => {
    expect(nestedFailedChecks(nestedResult())).toEqual([]);
  });

  test("fail a page of L2 called idle, and one of nobody called young", () => {
    expect(nestedFailedChecks(nestedResult({ checks: [checkedPass([4, 3, 4, 1])] }))).toEqual([
      "round 1, pass after L1 and L2 ran: 1 of 4 used pages called idle, hot set of L2",
      "round 1, pass after L1 and L2 ran: 1 of 4 unused pages called young, hot set of nobody",
    ]);
  });

  test("fail a test_young that disagrees, and false-young pages under load", () => {
    const { alternation } = nestedResult();
    const checks = [{ ...checkedPass([4, 4, 4, 0]), testDisagreements: 2 }];
    expect(
      nestedFailedChecks(nestedResult({ checks, alternation: { ...alternation, falseYoung: 5 } })),
    ).toEqual([
      "5 pages that nobody uses called young while L1 and L2 ran",
      "round 1, pass after L1 and L2 ran: test_young and clear_young disagree on 2 pages",
    ]);
  });
});

describe("text and measures of nested", () => {
  test("show what was called what", () => {
    const text = nestedText(nestedResult(), plainStyle);
    expect(text).toMatch(/^MMU +TDP MMU for L1, shadowed ept tables for L2, A\/D bits on, linux-7\.3$/m);
    expect(text).toMatch(/^checked passes: used pages +12 called young, 0 called idle$/m);
    expect(text).toMatch(/^aging passes meanwhile +3, on average 200 ms$/m);
    expect(text).toMatch(/^ +1 +L1 and L2 +4 \/ 4 +4 \/ 4 +4 \/ 4 +0 \/ 4$/m);
  });

  test("compare the part under load", () => {
    const measures = Object.fromEntries(
      nestedMeasures(nestedResult()).map(({ name, value }) => [name, value]),
    );
    expect(measures).toMatchObject({
      "L1 and L2 in turns": 0.75,
      "aging passes": 3,
      "average aging pass": 0.2,
    });
  });
});
