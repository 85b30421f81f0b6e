import type { Cpu } from "@kvm-age/machine";
import type { Vm } from "../../../vm/vm.js";
import type { VmVcpu } from "../../../vm/vm-vcpu.js";
import type { Random } from "./random.js";

/** One vCPU and the thread that runs it, for the guests of a torture run. */
export interface TortureProcessor {
  readonly cpu: Cpu;
  readonly vm: Vm;
  readonly guest: VmVcpu;
  readonly random: Random;
}
