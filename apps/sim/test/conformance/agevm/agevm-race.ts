import type { AccessKind } from "@kvm-age/vcpu";
import { TEST_GFN } from "./agevm-config.js";
import type { AgevmScript } from "./agevm-script.js";
import type { Task } from "./trace-log.js";

const OPERATIONS: Readonly<Record<string, AccessKind>> = { w: "write", r: "read", x: "fetch" };
const AGITATOR: Task = { comm: "agevm", pid: 720 };
/** Of so many faults, one finds the agitator at work while it is handled. */
const MEETINGS = 3;

/**
 * vCPUs use disjoint parts of the memory in loops while the main task marks pages idle and an agitator does what else is asked for: `i`
 * idle, `d` dontneed, `l` dirty log. The agitator's steps fall between accesses, and in the middle of faults.
 */
export function race(script: AgevmScript, operation: string, loops: number, what: string): void {
  const { vm } = script;
  const { log, config, host, cpu } = vm;
  const kind = OPERATIONS[operation]!;
  if (what.includes("l")) vm.log.as(AGITATOR, () => script.perform("log:1"));
  log.note(`race begin op=${operation} loops=${loops}`);
  const share = Math.floor(config.pages / config.vcpus);
  let step = 0;
  for (let loop = 0; loop < loops; loop++) {
    for (let page = 0; page < share; page++) {
      for (let vcpu = 0; vcpu < config.vcpus; vcpu++) {
        const target = vcpu * share + page;
        step++;
        if (step % MEETINGS === 0) host.meanwhile = () => agitate(script, what, target, step);
        const task: Task = { comm: "agevm", pid: 710 + vcpu };
        log.as(task, () => vm.vcpu(vcpu).loop(cpu, kind, [(TEST_GFN + target) * 4096]));
      }
      if (page % 4 === 1) agitate(script, what, (page * 7 + loop) % config.pages, loop);
      if (what.includes("i")) script.idle.set((page * 5 + loop) % config.pages, 1);
      cpu.rcuBarrier();
    }
    if (what.includes("i") && loop % 3 === 1) script.idle.set(0, config.pages);
  }
  host.meanwhile = null;
  log.note(`race end rounds=${loops}`);
}

function agitate(script: AgevmScript, what: string, page: number, step: number): void {
  const { vm } = script;
  vm.log.as(AGITATOR, () => {
    if (what.includes("d")) vm.hostMm.madviseDontneed(vm.cpu, vm.hvaOf(page), 4096);
    if (what.includes("l") && step % 2 === 0) script.getLog();
  });
}
