import { Worker } from "node:worker_threads";
import type { RwLock, ThreadCpu, ThreadMachine } from "@kvm-age/machine";
import { onTestFinished } from "vitest";
import type { KvmRmaps } from "../../src/index.js";

/** One worker: its file beside this one, and what it gets. */
export interface RmapWorker {
  readonly file: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What the workers share. */
export interface SharedState {
  readonly machine: ThreadMachine;
  readonly cpu: ThreadCpu;
  readonly rmaps: KvmRmaps;
  readonly mmuLock: RwLock;
}

function start({ file, data }: RmapWorker, common: Record<string, unknown>): [Worker, Promise<unknown>] {
  // Without execArgv, vitest's own resolve conditions would reach the thread and send it to TypeScript sources.
  const options = { workerData: { ...common, data }, execArgv: [] };
  const thread = new Worker(new URL(file, import.meta.url), options);
  const result = new Promise<unknown>((resolve, reject) => {
    thread.once("message", resolve);
    thread.once("error", reject);
    thread.once("exit", (code) => reject(new Error(`${file} ended with code ${code} and no result`)));
  });
  return [thread, result];
}

/**
 * Runs the workers as real threads, started at one gate; resolves to their results. All end with the test, at the latest. They
 * load the built packages, so build before.
 */
export async function runWorkers(
  { machine, cpu, rmaps, mmuLock }: SharedState,
  seed: number,
  workers: readonly RmapWorker[],
): Promise<unknown[]> {
  const gate = machine.frames.allocateFrame(cpu);
  const common = { handle: machine.handle, rmapsHandle: rmaps.handle, mmuLock, gate, seed };
  const started = workers.map((worker, index) =>
    start(worker, { ...common, workers: workers.length, index }),
  );
  // Also when the test ran into its time limit because of a deadlock: nobody else would end the threads.
  onTestFinished(async () => {
    await Promise.all(started.map(([thread]) => thread.terminate()));
  });
  return Promise.all(started.map(([, result]) => result));
}
