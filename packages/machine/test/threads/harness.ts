import { Worker } from "node:worker_threads";
import { onTestFinished } from "vitest";
import type { Address, ThreadCpu, ThreadMachine } from "../../src/index.js";

/** Seeds of the torture tests: a fixed one, and a new one in every run. Part of each test's name, so a failure shows it. */
export const seeds: number[] = [1, Math.floor(Math.random() * 2 ** 31)];

/** One worker: its file beside this one, and what it gets. */
export interface TortureWorker {
  readonly file: string;
  readonly data: Readonly<Record<string, unknown>>;
}

function startWorker(worker: TortureWorker, common: Record<string, unknown>): [Worker, Promise<unknown>] {
  // Without execArgv, vitest's own resolve conditions would reach the thread and send it to TypeScript sources.
  const thread = new Worker(new URL(worker.file, import.meta.url), {
    workerData: { ...common, data: worker.data },
    execArgv: [],
  });
  const result = new Promise<unknown>((resolve, reject) => {
    thread.once("message", resolve);
    thread.once("error", reject);
    thread.once("exit", (code) => reject(new Error(`${worker.file} ended with code ${code} and no result`)));
  });
  return [thread, result];
}

/**
 * Runs the workers as real threads of `machine`, started at one gate; resolves to their results. All end with the
 * test, at the latest. They load the built package, so build before.
 */
export async function torture(
  machine: ThreadMachine,
  cpu: ThreadCpu,
  seed: number,
  workers: readonly TortureWorker[],
): Promise<unknown[]> {
  const gate: Address = machine.frames.allocateFrame(cpu);
  const started = workers.map((worker, index) =>
    startWorker(worker, { handle: machine.handle, gate, workers: workers.length, index, seed }),
  );
  // Also when the test ran into its time limit because of a deadlock: nobody else would end the threads.
  onTestFinished(async () => {
    await Promise.all(started.map(([thread]) => thread.terminate()));
  });
  const results = await Promise.all(started.map(([, result]) => result));
  machine.frames.freeFrame(cpu, gate);
  return results;
}
