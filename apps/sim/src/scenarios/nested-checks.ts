import type { CheckedPass, NestedResult } from "../results/nested-result.js";

function passFailures({ round, accessedBy, sets, testDisagreements }: CheckedPass): string[] {
  const where = `round ${round}, pass after ${accessedBy} ran`;
  const wrong = sets.filter(({ pages, used, young }) => young !== (used ? pages : 0));
  const failures = wrong.map(({ set, pages, used, young }) => {
    const what = used
      ? `${pages - young} of ${pages} used pages called idle`
      : `${young} of ${pages} unused pages called young`;
    return `${where}: ${what}, hot set of ${set}`;
  });
  if (testDisagreements === 0) return failures;
  return [...failures, `${where}: test_young and clear_young disagree on ${testDisagreements} pages`];
}

/** What aging must know of a nested guest: every page of every checked pass, and the pages that nobody ever uses. */
export function nestedFailedChecks({ alternation, checks }: NestedResult): string[] {
  const failures = checks.flatMap(passFailures);
  if (alternation.falseYoung === 0) return failures;
  return [`${alternation.falseYoung} pages that nobody uses called young while L1 and L2 ran`, ...failures];
}
