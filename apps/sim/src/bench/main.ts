import { once } from "node:events";
import { availableParallelism, cpus } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { renderTable } from "../terminal/render-table.js";
import { styleFor } from "../terminal/style.js";
import { BENCH_JOBS, type BenchJob, type BenchJobResult } from "./bench-jobs.js";
import type { BenchRow } from "./bench-row.js";
import { shadowFaultRows, tdpFaultRows } from "./map-faults.js";

// `npm run bench`: figures of this machine, now, each beside a baseline measured in the same run.

/** Runs a job in a thread of its own, alone. */
async function run<Job extends BenchJob>(job: Job): Promise<BenchJobResult<Job>> {
  const [result] = await once(new Worker(new URL(import.meta.url), { workerData: job }), "message");
  return result as BenchJobResult<Job>;
}

async function faultRows(): Promise<BenchRow[]> {
  const tdp = await run("tdpFault");
  return [
    ...tdpFaultRows(tdp, await run("guestFault")),
    ...shadowFaultRows("direct", tdp, await run("directFault"), await run("directPrefetch")),
    ...shadowFaultRows("indirect", tdp, await run("indirectFault"), await run("indirectPrefetch")),
    ...shadowFaultRows("nested EPT", tdp, await run("nestedFault"), await run("nestedPrefetch")),
  ];
}

async function allRows(): Promise<BenchRow[]> {
  return [
    ...(await run("agingNative")),
    ...(await run("agingIterator")),
    ...(await run("shadowAgingSingle")),
    ...(await run("shadowAgingLong")),
    ...(await run("rmapLockSingle")),
    ...(await run("rmapLockLong")),
    ...(await run("rmapAddSingle")),
    ...(await run("rmapAddSingleChecked")),
    ...(await run("rmapAddLong")),
    ...(await run("rmapAddLongChecked")),
    ...(await faultRows()),
    ...(await run("guestAccess")),
    ...(await run("spteRates")),
    ...(await run("traceReading")),
    ...(await run("conformance")),
    ...(await run("memory")),
  ];
}

function print(rows: readonly BenchRow[]): void {
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  console.log(`${processor}, ${availableParallelism()} cores, Node ${process.version}\n`);
  const table = {
    head: ["what", "figure", "baseline", "ratio", "aim"],
    rows: rows.map(({ name, figure, baseline, ratio, aim }) => [name, figure, baseline, ratio, aim]),
    leftColumns: [0, 2],
  };
  console.log(renderTable(table, styleFor(process.stdout, process.env)));
}

if (isMainThread) print(await allRows());
else parentPort!.postMessage(await BENCH_JOBS[workerData as BenchJob]());
