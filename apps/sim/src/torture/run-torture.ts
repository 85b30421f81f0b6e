import { checkHostMmInvariants } from "@kvm-age/host-mm";
import {
  type Cpu,
  FrameState,
  NULL_ADDRESS,
  noLayer,
  type ThreadMachine,
  withAddressSanitizer,
} from "@kvm-age/machine";
import { checkMemslotInvariants, kvmFreeMemslots, kvmSetMemoryRegion } from "@kvm-age/memslot";
import { isLastSpte, isShadowPresentPte, spteToPfn } from "@kvm-age/spte";
import {
  checkTdpMmuInvariants,
  destroyTdpMmu,
  destroyTdpMmuVcpu,
  kvmMmuUnload,
  rootOfVcpu,
  TdpIter,
} from "@kvm-age/tdp-mmu";
import { tortureSlots } from "../actors/programs/torture/layout.js";
import { Random } from "../actors/programs/torture/random.js";
import type { TortureLoggerReport } from "../actors/programs/torture/torture-logger.js";
import { setTortureSlot } from "../actors/programs/torture/torture-mover.js";
import type { TortureVcpuReport } from "../actors/programs/torture/torture-vcpu.js";
import type { MmuOptions } from "../options/mmu-options.js";
import type { Assignment, Crew, StepReport } from "../running/crew.js";
import { withCrew } from "../running/with-crew.js";
import { noProgress, type Progress } from "../terminal/progress.js";
import { type CreatedVm, createVm } from "../vm/create-vm.js";

/** What is tortured, and how long. Plain data; the seed decides everything but the interleaving. */
export interface TortureOptions extends Omit<MmuOptions, "vcpus"> {
  readonly vcpus: number;
  readonly agers: number;
  /** Accesses of each vCPU. */
  readonly accesses: number;
  readonly guestPages: number;
  readonly hugePages: boolean;
}

/** What came of it. All is well if `violations` is empty. */
export interface TortureResult {
  readonly violations: string[];
  readonly reads: number;
  readonly writes: number;
  readonly emulated: number;
  readonly reports: readonly StepReport[];
}

/** Share of the guest that the host has memory for, so that pages go through swap. */
const RESIDENT_SHARE = 0.6;
const SPARE_HOST_PAGES = 1024;

function createTortureVm(options: TortureOptions): CreatedVm {
  const resident = Math.floor(options.guestPages * RESIDENT_SHARE);
  const layer = (cpu: Cpu, machine: ThreadMachine): Cpu =>
    (options.sanitizer ? withAddressSanitizer(machine.frames) : noLayer)(cpu);
  const created = createVm(
    {
      ...options,
      hostPages: resident + SPARE_HOST_PAGES,
      memoryLimitPages: resident,
      swapSlots: options.guestPages,
      contents: true,
      recordAccesses: false,
    },
    layer,
  );
  splitIntoSlots(created);
  return created;
}

/** Replaces the one slot of a new VM by the two of a torture run. */
function splitIntoSlots(created: CreatedVm): void {
  const { vm, cpu } = created;
  kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, {
    slot: 1,
    flags: 0,
    guestPhysAddr: vm.gpaOf(0),
    memorySize: 0,
    userspaceAddr: vm.hvaOf(0),
  });
  for (const slot of Object.values(tortureSlots(vm.handle))) setTortureSlot(created, slot, {});
}

function assignmentsOf(options: TortureOptions, versions: SharedArrayBuffer): Assignment[] {
  const random = new Random(options.seed);
  const seed = (): number => random.below(2 ** 32 - 1);
  const vcpus: Assignment[] = Array.from({ length: options.vcpus }, (_, index) => ({
    role: "vcpu",
    index,
    program: { type: "torture-vcpu", seed: seed(), accesses: options.accesses, versions },
  }));
  const agers: Assignment[] = Array.from({ length: options.agers }, (_, index) => ({
    role: "ager",
    index,
    program: { type: "torture-ager", seed: seed() },
  }));
  return [
    ...vcpus,
    ...agers,
    { role: "reclaimer", index: 0, program: { type: "torture-reclaimer", seed: seed() } },
    { role: "mover", index: 0, program: { type: "torture-mover", seed: seed() } },
    { role: "logger", index: 0, program: { type: "torture-logger", seed: seed(), versions } },
  ];
}

/** Frames in use other than a slab's, which keeps what it once had. */
function framesInUse(created: CreatedVm): number {
  const { table } = created.machine.frames;
  const inUse: number[] = [FrameState.single, FrameState.spanHead, FrameState.spanBody];
  let count = 0;
  for (let frame = 0; frame < table.frameCount; frame++) {
    if (inUse.includes(created.cpu.readOnce32(table.stateWord(frame)))) count++;
  }
  return count;
}

/** Whether what the guest would reach through its tables is what the host has mapped: no leaf outlives its page. */
function staleLeaves({ vm, cpu }: CreatedVm): string[] {
  const stale: string[] = [];
  const { baseGfn } = vm.handle;
  const tdp = vm.tdp!;
  for (let index = 0; index < vm.config.vcpus; index++) {
    const root = rootOfVcpu(tdp, cpu, vm.vcpu(index).tdp!);
    if (root === NULL_ADDRESS) continue;
    const iter = new TdpIter(tdp.format);
    for (
      iter.start(cpu, root, 1, baseGfn);
      iter.valid && iter.gfn < baseGfn + vm.config.guestPages;
      iter.next(cpu)
    ) {
      const { oldSpte, gfn, level } = iter;
      if (!isShadowPresentPte(oldSpte) || !isLastSpte(oldSpte, level)) continue;
      const mapped = vm.hostMm.pagemapLookup(cpu, vm.hvaOf(gfn - baseGfn));
      const reached = spteToPfn(tdp.format, oldSpte);
      if (mapped !== reached)
        stale.push(`page ${gfn - baseGfn}: SPTE leads to pfn ${reached}, the host maps ${mapped}`);
    }
  }
  return stale;
}

/** Every invariant of every package, at rest. */
function invariantViolations(created: CreatedVm): string[] {
  const { vm, cpu } = created;
  return [
    ...checkTdpMmuInvariants(vm.tdp!, cpu),
    ...checkMemslotInvariants(vm.memslots, cpu),
    ...checkHostMmInvariants(vm.hostMm, cpu),
  ];
}

/** Frames that stay in use after the teardown of a VM of this shape whose guest never ran: the host's own. */
function framesOfIdleHost(options: TortureOptions): number {
  const created = createTortureVm(options);
  const { vm, cpu } = created;
  // One access, so that the tables that outlive the mappings exist here as well.
  vm.hostMm.userAccess(cpu, vm.hvaOf(0), true);
  tearDown(created);
  return framesInUse(created);
}

/** Takes the VM apart in the kernel's order and says what was left behind. */
function tearDown(created: CreatedVm): string[] {
  const { vm, cpu } = created;
  for (const slot of Object.values(tortureSlots(vm.handle))) setTortureSlot(created, slot, { deleted: true });
  for (let index = 0; index < vm.config.vcpus; index++) {
    const vcpu = vm.vcpu(index);
    kvmMmuUnload(vm.tdp!, cpu, vcpu.tdp!);
    destroyTdpMmuVcpu(vm.tdp!, cpu, vcpu.tdp!);
    vcpu.hardware.destroy(cpu);
  }
  vm.hostMm.exitMmap(cpu);
  cpu.rcuBarrier();
  const violations = invariantViolations(created);
  const headers = vm.tdp!.headers.allocatedObjects(cpu);
  if (headers !== 0) violations.push(`${headers} kvm_mmu_page descriptors leaked`);
  const { takenPages, stockedPages, usedSwapSlots } = vm.hostMm.counts(cpu);
  if (takenPages !== stockedPages) violations.push(`${takenPages - stockedPages} host pages leaked`);
  if (usedSwapSlots !== 0) violations.push(`${usedSwapSlots} swap slots leaked`);
  kvmFreeMemslots(vm.memslots, cpu);
  destroyTdpMmu(vm.tdp!, cpu);
  return violations;
}

function violationsOf(reports: readonly StepReport[]): string[] {
  return reports.flatMap(({ role, index, report }) => {
    const found = (report as Partial<TortureVcpuReport & TortureLoggerReport> | null)?.violations ?? [];
    return found.map((text) => `${role} ${index}: ${text}`);
  });
}

/** After the storm: every page once more, by its owner, and nobody else about. */
async function storm(crew: Crew, options: TortureOptions): Promise<StepReport[]> {
  const versions = new SharedArrayBuffer(options.guestPages * 4);
  const reports = await crew.run(assignmentsOf(options, versions));
  const calm: Assignment[] = Array.from({ length: options.vcpus }, (_, index) => ({
    role: "vcpu",
    index,
    program: { type: "torture-vcpu", seed: index + 1, accesses: options.guestPages * 4, versions },
  }));
  const after = await crew.run(calm);
  await crew.finish();
  return [...reports, ...after];
}

/**
 * Torture: vCPUs that read and write, agers, a reclaimer, slot updates and a dirty logger, all at once on real threads. Checks on the way that
 * no read sees a page after its invalidation, no dirty page is lost and no write escapes the dirty log; at rest that every
 * invariant of every package holds; and after teardown that nothing is left.
 */
export async function runTorture(
  options: TortureOptions,
  progress: Progress = noProgress,
): Promise<TortureResult> {
  const created = createTortureVm(options);
  const roles = { vcpu: options.vcpus, ager: options.agers, reclaimer: 1, mover: 1, logger: 1 };
  const context = { signal: new AbortController().signal, progress };
  const reports = await withCrew(
    created.vm.handle,
    roles,
    context,
    () => "torture",
    (crew) => storm(crew, options),
  );
  const violations = [...violationsOf(reports), ...staleLeaves(created), ...invariantViolations(created)];
  violations.push(...tearDown(created));
  const leaked = framesInUse(created) - framesOfIdleHost(options);
  if (leaked !== 0) violations.push(`${leaked} arena frames leaked`);
  const slots = created.vm.memslots.slotSlab.allocatedObjects(created.cpu);
  if (slots !== 0) violations.push(`${slots} memslots leaked`);
  const vcpus = reports
    .filter(({ role }) => role === "vcpu")
    .map(({ report }) => report as TortureVcpuReport);
  return {
    violations,
    reads: vcpus.reduce((sum, { reads }) => sum + reads, 0),
    writes: vcpus.reduce((sum, { writes }) => sum + writes, 0),
    emulated: vcpus.reduce((sum, { emulated }) => sum + emulated, 0),
    reports,
  };
}
