import { Worker } from "node:worker_threads";
import { Control } from "../actors/control.js";
import type {
  ActorInit,
  ActorRole,
  ActorTotals,
  Answer,
  Command,
  Program,
  ProgramReport,
} from "../actors/protocol.js";
import type { Recording } from "../tracing/recording.js";
import type { VmHandle } from "../vm/vm.js";
import type { VmConfig } from "../vm/vm-config.js";

/** Thrown when an actor's thread ends before it was told to. */
export class ActorDiedError extends Error {
  override readonly name = "ActorDiedError";

  constructor(
    readonly role: ActorRole,
    readonly index: number,
    readonly exitCode: number,
  ) {
    super(`${role} ${index} ended unexpectedly with exit code ${exitCode}`);
  }
}

/** Thrown when an actor's program ended in an error: a rule that was broken, or memory that ran out. */
export class ActorFailedError extends Error {
  override readonly name = "ActorFailedError";

  constructor(
    readonly role: ActorRole,
    readonly index: number,
    readonly errorName: string,
    readonly errorMessage: string,
  ) {
    super(`${role} ${index}: ${errorName}: ${errorMessage}`);
  }
}

type Reply<Type extends Answer["type"]> = Extract<Answer, { type: Type }>;

/** The main thread's end of one actor. */
class CrewMember {
  private readonly worker: Worker;
  private readonly waiting: {
    type: Answer["type"];
    resolve: (answer: Answer) => void;
    reject: (error: unknown) => void;
  }[] = [];
  private failure: unknown = null;

  constructor(readonly init: ActorInit) {
    // No inherited conditions or loaders: the thread runs the built file as it is.
    const entry = new URL("./actor.worker.js", import.meta.url);
    this.worker = new Worker(entry, { workerData: init, execArgv: [] });
    this.worker.on("message", (answer: Answer) => this.receive(answer));
    this.worker.on("error", (error) => this.fail(error));
    this.worker.on("exit", (code) => {
      if (this.waiting.length > 0) this.fail(new ActorDiedError(init.role, init.index, code));
    });
  }

  send(command: Command): void {
    this.worker.postMessage(command);
  }

  next<Type extends Answer["type"]>(type: Type): Promise<Reply<Type>> {
    return new Promise((resolve, reject) => {
      if (this.failure !== null) reject(this.failure);
      else this.waiting.push({ type, resolve: resolve as (answer: Answer) => void, reject });
    });
  }

  async terminate(): Promise<void> {
    await this.worker.terminate();
  }

  private receive(answer: Answer): void {
    if (answer.type === "failed") {
      this.fail(new ActorFailedError(this.init.role, this.init.index, answer.name, answer.message));
      return;
    }
    const index = this.waiting.findIndex((waiter) => waiter.type === answer.type);
    this.waiting.splice(index, 1)[0]?.resolve(answer);
  }

  private fail(error: unknown): void {
    this.failure = error;
    for (const waiter of this.waiting.splice(0)) waiter.reject(error);
  }
}

/** One actor's part in a step. */
export interface Assignment {
  readonly role: ActorRole;
  readonly index: number;
  readonly program: Program;
}

/** How one actor did in a step. */
export interface StepReport {
  readonly role: ActorRole;
  readonly index: number;
  /** From the opening of the gate to this actor's end. */
  readonly seconds: number;
  readonly report: ProgramReport;
}

const NS_PER_SECOND = 1e9;

/** Roles whose programs end by themselves, and with the last of which a step ends. */
const FOREGROUND: readonly ActorRole[] = ["vcpu", "vmm"];

/** The threads of a run: one for each vCPU, ager, reclaimer and so on, kept for the whole run. */
export class Crew {
  readonly control: Control;
  private readonly members: CrewMember[];
  private step = 0;

  /** @param recording where the actors' events go; null if they are not recorded */
  constructor(
    vm: VmHandle,
    roles: Readonly<Partial<Record<ActorRole, number>>>,
    private readonly recording: Recording | null,
  ) {
    const { lockdep, sanitizer }: VmConfig = vm.config;
    this.control = new Control(vm.machine.memory, vm.control);
    this.members = (Object.entries(roles) as [ActorRole, number][]).flatMap(([role, count]) =>
      Array.from({ length: count }, (_, index) => {
        const events = recording?.openStream(role, index) ?? null;
        return new CrewMember({ vm, role, index, lockdep, sanitizer, events });
      }),
    );
  }

  /**
   * Runs one step: all assigned actors wait at a gate and start together. vCPUs and the VMM are the foreground; when the last of them is
   * done, the others are told to finish.
   *
   * @param name of the step, for the notes in a recording
   */
  async run(name: string, assignments: readonly Assignment[]): Promise<StepReport[]> {
    this.recording?.note(`${name} begin`);
    const reports = await this.runStep(assignments);
    this.recording?.note(`${name} end`);
    return reports;
  }

  private async runStep(assignments: readonly Assignment[]): Promise<StepReport[]> {
    const step = ++this.step;
    const parts = assignments.map((assignment) => ({ assignment, member: this.member(assignment) }));
    const armed = parts.map(({ member }) => member.next("armed"));
    const done = parts.map(({ member }) => member.next("done"));
    // Whoever fails is reported by the wait below; the others' promises must not count as unhandled.
    for (const promise of [...armed, ...done]) promise.catch(() => {});
    for (const { assignment, member } of parts)
      member.send({ type: "run", step, program: assignment.program });
    await Promise.all(armed);
    const startNs = process.hrtime.bigint();
    this.control.openGate(step);
    const foreground = Promise.all(done.filter((_, index) => FOREGROUND.includes(assignments[index]!.role)));
    const everybody = Promise.all(done);
    // Whoever fails may have left a lock behind that the foreground would wait for.
    await Promise.race([foreground, everybody]);
    this.control.finishStep(step);
    const answers = await everybody;
    return answers.map((answer, index) => ({
      role: assignments[index]!.role,
      index: assignments[index]!.index,
      seconds: Number(answer.endNs - startNs) / NS_PER_SECOND,
      report: answer.report,
    }));
  }

  /** Ends all actors and collects what they measured. */
  async finish(): Promise<ActorTotals[]> {
    const totals = this.members.map((member) => member.next("totals"));
    for (const member of this.members) member.send({ type: "finish" });
    const answers = await Promise.all(totals);
    await this.terminate();
    return answers.map((answer) => answer.totals);
  }

  /** Ends all threads at once, whatever they do. */
  async terminate(): Promise<void> {
    await Promise.all(this.members.map((member) => member.terminate()));
  }

  private member(assignment: Assignment): CrewMember {
    return this.members.find(({ init }) => init.role === assignment.role && init.index === assignment.index)!;
  }
}
