import { rmSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Cpu } from "@kvm-age/machine";
import type { TraceKernel } from "@kvm-age/trace";
import type { ActorRole } from "../actors/protocol.js";
import type { MmuOptions } from "../options/mmu-options.js";
import type { Progress } from "../terminal/progress.js";
import { MMU_SHAPES } from "../vm/mmu-shape.js";
import { createEventStream, type EventStream, STREAM_WORDS, streamWords } from "./event-stream.js";
import { note } from "./notes.js";
import { createRecordingClock } from "./recording-clock.js";
import { taskName } from "./task-name.js";
import { ThreadRecorder } from "./thread-recorder.js";
import { TraceOutput } from "./trace-output.js";
import { traceText } from "./trace-text.js";

/** What is to be recorded, and how. */
export interface RecordingPlan {
  /** Where the trace goes; compressed if it ends in `.gz`. */
  readonly path: string;
  /** Events to keep; `Infinity` for all. */
  readonly limit: number;
  readonly scenario: string;
  readonly options: MmuOptions;
  /** What made the trace, for its header: program and version. */
  readonly program: string;
}

/** What came of a recording. */
export interface RecordedEvents {
  readonly events: number;
  /** Events beyond the limit. */
  readonly lost: number;
}

/**
 * A run's trace while it is made: one event stream for each thread, that of the main thread first; at the end, one text in the format of the
 * kernel's `trace` file.
 */
export class Recording {
  private readonly clock;
  private readonly streams: EventStream[] = [];
  private readonly main: ThreadRecorder;
  private readonly removeAtExit = (): void =>
    rmSync(this.output.directory, { recursive: true, force: true, maxRetries: 10 });

  private constructor(
    readonly plan: RecordingPlan,
    private readonly output: TraceOutput,
  ) {
    this.clock = createRecordingClock(plan.limit);
    this.main = new ThreadRecorder(this.openStream("vmm", 0));
    // A second Ctrl-C ends the process in the middle of whatever it does.
    process.once("exit", this.removeAtExit);
    this.note(describeRun(plan));
  }

  /**
   * Begins a recording.
   * @throws TraceFileError when the file cannot be written
   */
  static async start(plan: RecordingPlan): Promise<Recording> {
    return new Recording(plan, await TraceOutput.prepare(plan.path));
  }

  /** The stream of a thread that is about to start. */
  openStream(role: ActorRole, index: number): EventStream {
    const { scenario, options } = this.plan;
    const stream = createEventStream({
      comm: taskName(role, index, scenario),
      path: join(this.output.directory, `${this.streams.length}.events`),
      clock: this.clock,
      irqsOffInFastPageFault: !MMU_SHAPES[options.mmu].tdpMmu,
    });
    this.streams.push(stream);
    return stream;
  }

  /** The layers of the main thread's `Cpu`. */
  readonly mainCpu = (cpu: Cpu): Cpu => this.main.outermost(this.main.innermost(cpu));

  /** Writes a line of the main thread's into the trace. */
  note(text: string): void {
    this.main.record(note(text));
  }

  /**
   * Merges the streams into the file. All threads but the main one must have ended.
   * @throws TraceFileError when the file system refuses
   */
  async finish(progress: Progress): Promise<RecordedEvents> {
    this.main.close();
    const events = this.sum(STREAM_WORDS.events);
    const lost = this.sum(STREAM_WORDS.lost);
    const { startNs } = this.clock;
    const kernel: TraceKernel = this.plan.options.ruleSet;
    const text = traceText(
      this.streams,
      { startNs, kernel, events, lost, provenance: provenanceOf(this.plan) },
      progress,
    );
    try {
      await this.output.write(Readable.from(text));
    } finally {
      progress.stop();
      await this.output.cleanUp();
      process.off("exit", this.removeAtExit);
    }
    return { events, lost };
  }

  private sum(word: number): number {
    return this.streams.reduce((sum, stream) => sum + streamWords(stream)[word]!, 0);
  }
}

/** The first note: what ran. */
function describeRun({ scenario, options }: RecordingPlan): string {
  const given = Object.entries(options).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${scenario} ${given.join(" ")}`;
}

/** Comment lines under the header, so that nobody takes the trace for a kernel's. */
function provenanceOf({ program, scenario, options }: RecordingPlan): string[] {
  const { ruleSet, mmu, mmuMode, adBits, policy, vcpus } = options;
  const paging = mmu === "shadow" ? "shadow paging" : `${mmuMode}${adBits ? "" : " without A/D bits"}`;
  return [
    `written by ${program}, no kernel: scenario ${scenario} on simulated hardware`,
    `rules of ${ruleSet}, MMU ${mmu} (${paging}), aging ${policy}, ${vcpus} vCPUs`,
  ];
}
