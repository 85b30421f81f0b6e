/**
 * The warning that a run cannot show what it is for: threads that share a core wait for the scheduler, and
 * latency tails then show that. `null` when every busy thread has a core.
 */
export function busyThreadsWarning(busyThreads: number, cores: number): string | null {
  if (busyThreads <= cores) return null;
  const counted = `${busyThreads} busy threads share ${cores} ${cores === 1 ? "core" : "cores"}`;
  return `${counted}: times show the scheduler as well as the locks`;
}
