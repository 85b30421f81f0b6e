// Prints "<passed> <failed>" from vitest's JSON report.
// Usage: count-tests.mjs REPORT EXIT_STATUS
// What is not a test counts as one failure each: a file that could not be loaded, a test that was skipped (a skip is
// not a pass), a run that reports no test at all, and a run that failed for none of these reasons.
import { existsSync, readFileSync } from "node:fs";

const [reportPath, exitStatus] = process.argv.slice(2);

function count() {
  if (!existsSync(reportPath)) {
    console.error("no test report: the build, the type check or vitest itself did not get through");
    return { passed: 0, failed: 1 };
  }
  const report = JSON.parse(readFileSync(reportPath, "utf8"));
  const unloaded = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  );
  for (const file of unloaded) console.error(`could not run: ${file.name}`);
  const skipped = report.numPendingTests + report.numTodoTests;
  if (skipped > 0) console.error(`${skipped} tests were skipped`);
  const passed = report.numPassedTests;
  const failed = report.numFailedTests + unloaded.length + skipped;
  const unexplained = failed === 0 && (exitStatus !== "0" || passed === 0);
  if (unexplained) console.error(`${passed} tests passed, yet npm test ended with status ${exitStatus}`);
  return { passed, failed: failed + (unexplained ? 1 : 0) };
}

const { passed, failed } = count();
console.log(`${passed} ${failed}`);
