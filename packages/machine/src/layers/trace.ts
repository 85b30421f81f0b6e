import type { Cpu } from "../cpu/cpu.js";
import type { TraceEvent } from "../cpu/trace-event.js";
import type { CpuLayer } from "./cpu-layer.js";
import { ForwardingCpu } from "./forwarding-cpu.js";

/** Receives the trace events of a processor, in the order of their emission. */
export type TraceSink = (cpu: number, event: TraceEvent) => void;

class TracingCpu extends ForwardingCpu {
  override readonly tracing = true;

  constructor(
    inner: Cpu,
    private readonly sink: TraceSink,
  ) {
    super(inner);
  }

  override trace(event: TraceEvent): void {
    if (this.inner.tracing) this.inner.trace(event);
    this.sink(this.id, event);
  }
}

/** Sends every trace event to `sink`, and on to a sink of an inner layer if there is one. */
export function traceTo(sink: TraceSink): CpuLayer {
  return (cpu) => new TracingCpu(cpu, sink);
}
