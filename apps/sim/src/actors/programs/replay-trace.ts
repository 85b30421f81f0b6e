import type { Actor } from "../actor.js";
import { isWriteAccess, pageOfAccess, type RecordedTrace } from "../recorded-trace.js";

const LINES_PER_LOOK = 1024;

/** One pass over a chunk; false if everybody is to stop. */
function replayChunk(actor: Actor, chunk: Uint32Array, lines: number, firstPage: number): boolean {
  for (let line = 0; line < lines; line++) {
    const packed = chunk[line]!;
    actor.access(firstPage + pageOfAccess(packed), isWriteAccess(packed));
    if (line % LINES_PER_LOOK !== 0) continue;
    actor.control.addProgress(LINES_PER_LOOK);
    if (actor.control.isStopping) return false;
  }
  return true;
}

/** Replays a recorded program as one vCPU, its pages laid out from test page `firstPage`. */
export function replayTrace(actor: Actor, trace: RecordedTrace, firstPage: number, repeat: number): null {
  const chunks = trace.chunks.map((buffer) => new Uint32Array(buffer));
  for (let round = 0; round < repeat; round++) {
    let left = trace.lines;
    for (const chunk of chunks) {
      const lines = Math.min(left, chunk.length);
      if (!replayChunk(actor, chunk, lines, firstPage)) break;
      left -= lines;
    }
    if (actor.control.isStopping) break;
  }
  actor.vcpu!.exitGuest(actor.cpu);
  return null;
}
