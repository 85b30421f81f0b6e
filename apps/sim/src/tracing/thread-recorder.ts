import { readlinkSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { type Cpu, type CpuLayer, noLayer, type TraceEvent, traceTo } from "@kvm-age/machine";
import { type EventStream, STREAM_WORDS, streamWords } from "./event-stream.js";
import { EventStreamWriter } from "./event-stream-writer.js";
import { isNote } from "./notes.js";
import { PreemptDepth, withPreemptDepth } from "./preempt-depth-cpu.js";
import { type Moment, RecentWrites } from "./recent-writes.js";
import { RecordingClock } from "./recording-clock.js";
import { withStampedWrites } from "./write-stamping-cpu.js";

/** Number of the calling thread: the system's where it tells, on Linux; else one that no other thread of the process has. */
function currentTid(): number {
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
  } catch {
    return process.pid + threadId;
  }
}

/** Records what one thread's processor emits. */
export class ThreadRecorder {
  private readonly writer: EventStreamWriter;
  private readonly clock: RecordingClock;
  private readonly writes = new RecentWrites();
  private readonly depth = new PreemptDepth();
  private readonly irqsOffInFastPageFault: boolean;
  private readonly words: Float64Array;
  private last: Moment = { ns: 0, sequence: 0 };

  /** @param stream of the calling thread */
  constructor(stream: EventStream) {
    this.writer = new EventStreamWriter(stream);
    this.clock = new RecordingClock(stream.clock);
    this.irqsOffInFastPageFault = stream.irqsOffInFastPageFault;
    this.words = streamWords(stream);
    this.words[STREAM_WORDS.pid] = currentTid();
  }

  /** To be put directly around the thread's own `Cpu`, so that nothing but the write is in its step. */
  get innermost(): CpuLayer {
    return withStampedWrites(this.clock, this.writes);
  }

  /** To be put around everything. */
  get outermost(): CpuLayer {
    const trace = traceTo((_cpu, event) => this.record(event));
    return (cpu: Cpu) => {
      this.words[STREAM_WORDS.cpu] = cpu.id;
      return withPreemptDepth(this.depth)(trace(cpu));
    };
  }

  /** Records one event; a note is kept even beyond the limit. */
  record(event: TraceEvent): void {
    if (!isNote(event) && !this.clock.takeEvent()) {
      this.writer.lose();
      return;
    }
    this.last = this.momentOf(event);
    this.writer.append(event, this.last, {
      preemptDepth: this.depth.value,
      irqsOff: this.irqsOffInFastPageFault && event.name === "fast_page_fault",
    });
  }

  /** No more events will come. */
  close(): void {
    this.writer.close();
  }

  /**
   * The time of the write that the event tells of; the present if it tells of none. Never before the thread's last event: a thread's
   * events stay in their order. (7.3 tells of the entry above a removed table after the entries in it.)
   */
  private momentOf(event: TraceEvent): Moment {
    const written = this.writes.momentOf(event);
    if (written === null) {
      this.clock.read();
      return { ns: this.clock.ns, sequence: this.clock.sequence };
    }
    if (written.ns < this.last.ns) return this.last;
    const sameNs = written.ns === this.last.ns && ((written.sequence - this.last.sequence) | 0) < 0;
    return sameNs ? this.last : { ns: written.ns, sequence: written.sequence };
  }
}

/** The layers of a thread: those of a recorder, or none. */
export function recordingLayers(
  recorder: ThreadRecorder | null,
): Pick<ThreadRecorder, "innermost" | "outermost"> {
  return recorder ?? { innermost: noLayer, outermost: noLayer };
}
