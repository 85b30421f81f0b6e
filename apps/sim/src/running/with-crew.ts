import type { ActorRole } from "../actors/protocol.js";
import type { RunContext } from "../terminal/run-context.js";
import type { VmHandle } from "../vm/vm.js";
import { Crew } from "./crew.js";

const PROGRESS_INTERVAL_MS = 250;

/**
 * Runs `body` with a crew, whose threads are gone afterwards whatever happens. An abort makes the actors stop at their next look;
 * `body` then returns what there is.
 *
 * @param describe the progress line for so many units of work done
 */
export async function withCrew<Result>(
  vm: VmHandle,
  roles: Readonly<Partial<Record<ActorRole, number>>>,
  context: RunContext,
  describe: (units: number) => string,
  body: (crew: Crew) => Promise<Result>,
): Promise<Result> {
  const crew = new Crew(vm, roles, context.recording ?? null);
  const onAbort = (): void => crew.control.stop();
  if (context.signal.aborted) onAbort();
  context.signal.addEventListener("abort", onAbort);
  const show = (): void => context.progress.update(describe(crew.control.progress));
  const timer = setInterval(show, PROGRESS_INTERVAL_MS);
  try {
    return await body(crew);
  } finally {
    clearInterval(timer);
    context.progress.stop();
    context.signal.removeEventListener("abort", onAbort);
    await crew.terminate();
  }
}
