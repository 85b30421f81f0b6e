import { parentPort, workerData } from "node:worker_threads";
import { Actor } from "./actor.js";
import type { ActorInit, Answer, Command } from "./protocol.js";
import { runProgram } from "./run-program.js";

// Entry of an actor's thread. It may sleep on futexes, so the event loop is free only between steps.

const port = parentPort!;
const actor = new Actor(workerData as ActorInit);

function answer(message: Answer): void {
  port.postMessage(message);
}

function obey(command: Command): void {
  if (command.type === "finish") {
    answer({ type: "totals", totals: actor.finish() });
    port.close();
    return;
  }
  const { step, program } = command;
  answer({ type: "armed", step });
  actor.control.waitAtGate(step);
  const report = runProgram(actor, step, program);
  answer({ type: "done", step, endNs: process.hrtime.bigint(), report });
}

port.on("message", (command: Command) => {
  try {
    obey(command);
  } catch (error) {
    // By name and message: an error loses its class on the way to another thread.
    const { name, message } = error as Error;
    actor.control.stop();
    answer({ type: "failed", name, message });
  }
});
