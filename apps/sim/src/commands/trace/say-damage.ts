import { identityText } from "../../trace-reports/identity-text.js";
import type { KernelTrace } from "../../trace-reports/open-kernel-trace.js";
import { ExitCode } from "../exit-code.js";
import type { Session } from "../session.js";

const MOST_SHOWN = 5;

/** Says what kept a trace from being read as a whole; a file that ends too early makes the command fail. */
export function sayDamage(session: Session, trace: KernelTrace): void {
  const { damaged, lost, header } = trace.report();
  for (const { line, reason } of damaged.first.slice(0, MOST_SHOWN)) {
    session.say(`warning: line ${line} could not be read: ${reason}`);
  }
  const more = damaged.count - Math.min(MOST_SHOWN, damaged.first.length);
  if (more > 0) session.say(`warning: ${more.toLocaleString("en-US")} more lines could not be read`);
  if (lost.events + lost.unknown > 0) {
    const events = lost.events > 0 ? lost.events.toLocaleString("en-US") : "an unknown number of";
    session.say(`warning: the trace says that ${events} events were lost: what follows is incomplete`);
  }
  const overwritten = header === null ? 0 : header.entriesWritten - header.entriesInBuffer;
  if (overwritten > 0) {
    const [gone, all] = [overwritten, header!.entriesWritten].map((count) => count.toLocaleString("en-US"));
    session.say(
      `warning: ${gone} of ${all} events were overwritten in the ring buffer: the beginning is missing`,
    );
  }
  sayChangedIdentity(session, trace);
  const truncated = trace.truncated();
  if (truncated === null) return;
  session.say(`kvm-age: ${truncated.message}`);
  if (session.exitCode === ExitCode.ok) session.exitCode = ExitCode.usage;
}

function sayChangedIdentity(session: Session, { identity, identityNow }: KernelTrace): void {
  const [before, after] = [identityText(identity), identityText(identityNow())];
  if (before === after) return;
  session.say(
    `warning: read as ${before}, as its beginning looks; the whole looks like ${after}: see --kernel, --mode`,
  );
}
