import type { Hva } from "@kvm-age/memslot";
import type { KvmEvent } from "@kvm-age/trace";
import { eventsOf, type Operation, probesOf } from "../input/operation.js";
import type { HandlerCall } from "../model/observed-kvm.js";
import type { ReplayContext } from "./replay-context.js";

/** Names of the probes of one notifier operation. */
interface AnswerProbes {
  readonly handler: string;
  readonly mmus: readonly string[];
  readonly caller: readonly string[];
}

const AGE_PROBES: AnswerProbes = {
  handler: "age_gfn",
  mmus: ["tdp_age", "rmap_age"],
  caller: ["clear_young", "clear_flush_young"],
};
const TEST_PROBES: AnswerProbes = { handler: "test_age_gfn", mmus: [], caller: ["test_young"] };

/** A `bool` comes in the low byte of the register that the probe prints. */
const BOOL = 0xffn;

/** Aging of a range: the same entries change, and the same answer is given. */
export function replayAging(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  const [age, ...outputs] = eventsOf(operation);
  if (age?.name !== "kvm_age_hva") return [];
  const { start, end } = age.fields;
  context.silent.adoptFromEvents(outputs);
  adoptPrintedAnswer(context, operation, AGE_PROBES);
  const flushing = probesOf(operation, "clear_flush_young").length > 0;
  const { notifier, cpu } = context.vm;
  const answer = flushing
    ? notifier.clearFlushYoung(cpu, start as Hva, end as Hva)
    : notifier.clearYoung(cpu, start as Hva, end as Hva);
  context.idle.aged(operation, answer);
  compareAnswers(context, operation, AGE_PROBES, answer);
  return context.compareOutputs(outputs, context.takeOutputs());
}

/** A test of one address: nothing changes. */
export function replayTestAge(context: ReplayContext, operation: Operation): readonly KvmEvent[] {
  const [test, ...outputs] = eventsOf(operation);
  if (test?.name !== "kvm_test_age_hva") return [];
  adoptPrintedAnswer(context, operation, TEST_PROBES);
  const answer = context.vm.notifier.testYoung(context.vm.cpu, test.fields.hva as Hva);
  compareAnswers(context, operation, TEST_PROBES, answer);
  return context.compareOutputs(outputs, context.takeOutputs());
}

function adoptPrintedAnswer(context: ReplayContext, operation: Operation, { handler }: AnswerProbes): void {
  const ranges = probesOf(operation, handler);
  for (const [index, probe] of probesOf(operation, `${handler}_ret`).entries()) {
    const range = ranges[index];
    if (range === undefined || (probe.args.ret! & BOOL) === 0n) continue;
    context.silent.adoptYoung(Number(range.args.start!), Number(range.args.end!));
  }
}

function compareAnswers(
  context: ReplayContext,
  operation: Operation,
  names: AnswerProbes,
  answer: boolean,
): void {
  const calls = context.vm.kvm.takeCalls();
  compareHandlerCalls(context, operation, names.handler, calls);
  for (const name of names.mmus)
    compareReturns(
      context,
      operation,
      `${name}_ret`,
      calls.map((call) => call.answer),
    );
  for (const name of names.caller) compareReturns(context, operation, `${name}_ret`, [answer]);
}

/** The ranges that the handler was called for, slot by slot, and its answers. */
export function compareHandlerCalls(
  context: ReplayContext,
  operation: Operation,
  handler: string,
  calls: readonly HandlerCall[],
): void {
  const entries = probesOf(operation, handler);
  for (const [index, probe] of entries.entries()) {
    const call = calls[index];
    const model = call === undefined ? "not called" : `${call.start.toString(16)}-${call.end.toString(16)}`;
    const kernel = `${probe.args.start!.toString(16)}-${probe.args.end!.toString(16)}`;
    context.compareValue("answer", probe.line, `${handler} is called for`, kernel, model);
  }
  const extra = context.hasProbe(handler) ? calls.slice(entries.length) : [];
  for (const { start, end } of extra) {
    const model = `${start.toString(16)}-${end.toString(16)}`;
    context.compareValue("answer", operation.line, `${handler} is called for`, "not called", model);
  }
  compareReturns(
    context,
    operation,
    `${handler}_ret`,
    calls.map((call) => call.answer),
  );
}

function compareReturns(
  context: ReplayContext,
  operation: Operation,
  name: string,
  answers: readonly boolean[],
): void {
  for (const [index, probe] of probesOf(operation, name).entries()) {
    const kernel = (probe.args.ret! & BOOL) !== 0n;
    const answer = answers[index];
    context.compareValue(
      "answer",
      probe.line,
      name,
      String(kernel),
      answer === undefined ? "not called" : String(answer),
    );
  }
}
