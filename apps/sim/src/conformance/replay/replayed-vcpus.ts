import { type Address, NULL_ADDRESS } from "@kvm-age/machine";
import type { KvmEvent } from "@kvm-age/trace";
import type { ModelEntry } from "../model/model-tables.js";
import type { ModelVcpu } from "../model/model-vcpu.js";
import { learnGuestTables } from "./learn-guest-tables.js";
import type { ReplayContext } from "./replay-context.js";

/** The vCPUs of a recorded VM: which task runs which, and the roots that they have used. */
export class ReplayedVcpus {
  private readonly byTask = new Map<number, number>();
  private readonly roots = new Set<Address>();

  constructor(private readonly context: ReplayContext) {}

  /** The vCPU that a task runs: the one of its notes, that of its next fault, or one that has not run yet. */
  ofTask(pid: number): ModelVcpu {
    const { guest, upcoming, line, vm } = this.context;
    const told = guest.vcpuOf(pid) ?? upcoming.vcpuOfNextFault(pid, line);
    const vcpu = told ?? this.byTask.get(pid) ?? this.idleVcpu();
    this.byTask.set(pid, vcpu);
    return vm.vcpu(vcpu);
  }

  /** A vCPU enters the guest as far as the MMU has a part in it. */
  enter(vcpu: ModelVcpu): void {
    const { cpu } = this.context.vm;
    vcpu.enter(cpu);
    this.roots.add(vcpu.rootHpa(cpu));
  }

  /** The present entries of a page at a level, in all roots that vCPUs have used. */
  entries(gfn: number, level: number): ModelEntry[] {
    const found = [...this.roots].map((root) => this.context.tables.find(root, gfn, level));
    return found.filter((entry) => entry !== null);
  }

  /** A frame was freed that may have been a root. */
  forgetRoot(root: Address): void {
    this.roots.delete(root);
  }

  /** KVM reads or emulates an instruction of the guest, and translates its address for that. */
  translate(pid: number, outputs: readonly KvmEvent[]): void {
    const [walk] = outputs;
    if (walk?.name !== "kvm_mmu_pagetable_walk") return;
    const vcpu = this.ofTask(pid);
    learnGuestTables(this.context, vcpu.linearRoot, vcpu.nestedRoot, outputs);
    vcpu.translate(this.context.vm.cpu, Number(walk.fields.addr), walk.fields.pferr);
  }

  /** The vCPU of a task goes on with the root that the kernel loads (`load_mmu_pgd`): its own, or that of another of its contexts. */
  followRoot(pid: number, kernelRoot: number, line: number): void {
    const { tablePages, vm } = this.context;
    const vcpu = this.ofTask(pid);
    const known = tablePages.modelPage(kernelRoot);
    if (vcpu.rootHpa(vm.cpu) === NULL_ADDRESS) this.enter(vcpu);
    if (known !== null && known !== vcpu.rootHpa(vm.cpu)) vcpu.changeContext(vm.cpu);
    const same = tablePages.same(vcpu.rootHpa(vm.cpu), kernelRoot);
    this.context.compareValue("answer", line, "root of the vCPU", "its root", same ? "its root" : "another");
  }

  private idleVcpu(): number {
    for (let vcpu = 0; ; vcpu++) if (this.context.root(vcpu) === NULL_ADDRESS) return vcpu;
  }
}
