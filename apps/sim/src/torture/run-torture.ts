import { type Cpu, noLayer, type ThreadMachine, withAddressSanitizer, withLockdep } from "@kvm-age/machine";
import { kvmSetMemoryRegion } from "@kvm-age/memslot";
import { buildGuestWindows, windowTablePages } from "../actors/programs/torture/guest-windows.js";
import { tortureSlots } from "../actors/programs/torture/layout.js";
import { Random } from "../actors/programs/torture/random.js";
import type { TortureLoggerReport } from "../actors/programs/torture/torture-logger.js";
import { setTortureSlot } from "../actors/programs/torture/torture-mover.js";
import type { TortureVcpuReport } from "../actors/programs/torture/torture-vcpu.js";
import type { ActorTotals } from "../actors/protocol.js";
import { checkCompliance } from "../compliance/check-compliance.js";
import { describeViolation } from "../compliance/compliance-report.js";
import { kvmLockGraph } from "../compliance/kvm-lock-order.js";
import { framesInUse, tearDown } from "../compliance/tear-down.js";
import { ActorFailedError, type Assignment, type Crew, type StepReport } from "../running/crew.js";
import { withCrew } from "../running/with-crew.js";
import { noProgress, type Progress } from "../terminal/progress.js";
import { type CreatedVm, createVm } from "../vm/create-vm.js";
import { MMU_SHAPES } from "../vm/mmu-shape.js";
import { locklessAgersThatWaited } from "./lockless-agers-that-waited.js";
import type { TortureOptions } from "./torture-options.js";

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
  const layer = (cpu: Cpu, machine: ThreadMachine): Cpu => {
    const sanitizer = options.sanitizer ? withAddressSanitizer(machine.frames) : noLayer;
    const lockdep = options.lockdep ? withLockdep(kvmLockGraph()) : noLayer;
    return lockdep(sanitizer(cpu));
  };
  const created = createVm(
    {
      ...options,
      hostPages: resident + SPARE_HOST_PAGES,
      memoryLimitPages: resident,
      swapSlots: options.guestPages,
      contents: true,
      recordAccesses: false,
      spareGuestTablePages: windowTablePages(options.vcpus),
    },
    layer,
  );
  buildGuestWindows(created.vm, created.cpu);
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

/** Frames that stay in use after the teardown of a VM of this shape whose guest never ran: the host's own. */
function framesOfIdleHost(options: TortureOptions): number {
  const created = createTortureVm(options);
  const { vm, cpu } = created;
  // One access, so that the tables that outlive the mappings exist here as well.
  vm.hostMm.userAccess(cpu, vm.hvaOf(0), true);
  tearDown(created);
  return framesInUse(created);
}

function violationsOf(reports: readonly StepReport[]): string[] {
  return reports.flatMap(({ role, index, report }) => {
    const found = (report as Partial<TortureVcpuReport & TortureLoggerReport> | null)?.violations ?? [];
    return found.map((text) => `${role} ${index}: ${text}`);
  });
}

/** What the actors reported and measured. */
interface Storm {
  readonly reports: StepReport[];
  readonly totals: ActorTotals[];
}

/** After the storm: every page once more, by its owner, and nobody else about. */
async function storm(crew: Crew, options: TortureOptions): Promise<Storm> {
  const versions = new SharedArrayBuffer(options.guestPages * 4);
  const reports = await crew.run("storm", assignmentsOf(options, versions));
  const calm: Assignment[] = Array.from({ length: options.vcpus }, (_, index) => ({
    role: "vcpu",
    index,
    program: { type: "torture-vcpu", seed: index + 1, accesses: options.guestPages * 4, versions },
  }));
  const after = await crew.run("calm", calm);
  const totals = await crew.finish();
  return { reports: [...reports, ...after], totals };
}

/** Every vCPU flushes what its guest has cached, one after the other and with nobody else about. */
function flushGuests({ vm, cpu }: CreatedVm): void {
  const { guestTables } = MMU_SHAPES[vm.config.mmu];
  if (guestTables === "none") return;
  for (const [index] of vm.handle.vcpus.entries()) {
    const vcpu = vm.vcpu(index);
    if (guestTables === "nested") vcpu.syncNested(cpu);
    else vcpu.hardware.flushGuestTlb(cpu);
    vcpu.hardware.exitGuest(cpu);
  }
}

/** Everything that can be checked once all threads are gone. */
function judge(created: CreatedVm, options: TortureOptions, { reports, totals }: Storm): string[] {
  const { vm, cpu } = created;
  const violations = [...violationsOf(reports), ...locklessAgersThatWaited(options.policy, totals)];
  violations.push(...checkCompliance(vm, cpu).violations.map(describeViolation));
  flushGuests(created);
  violations.push(...checkCompliance(vm, cpu, { guestsFlushed: true }).violations.map(describeViolation));
  violations.push(...tearDown(created));
  const leaked = framesInUse(created) - framesOfIdleHost(options);
  if (leaked !== 0) violations.push(`${leaked} arena frames leaked`);
  return violations;
}

/** A run that an actor ended by an error has that as its one violation: what the VM is like after it means nothing. */
async function runStorm(
  created: CreatedVm,
  options: TortureOptions,
  progress: Progress,
): Promise<Storm | ActorFailedError> {
  const roles = { vcpu: options.vcpus, ager: options.agers, reclaimer: 1, mover: 1, logger: 1 };
  const context = { signal: new AbortController().signal, progress };
  try {
    return await withCrew(
      created.vm.handle,
      roles,
      context,
      () => "torture",
      (crew) => storm(crew, options),
    );
  } catch (error) {
    if (error instanceof ActorFailedError) return error;
    throw error;
  }
}

/**
 * Torture: vCPUs that read and write and edit their page tables, agers, a reclaimer, slot updates and a dirty logger, all at once on real
 * threads. Checks on the way that no read sees a page after its invalidation, no dirty page is lost and no write escapes the dirty log; at
 * rest that the VM complies; and after teardown that nothing is left.
 */
export async function runTorture(
  options: TortureOptions,
  progress: Progress = noProgress,
): Promise<TortureResult> {
  const created = createTortureVm(options);
  const course = await runStorm(created, options, progress);
  if (course instanceof ActorFailedError) {
    return { violations: [course.message], reads: 0, writes: 0, emulated: 0, reports: [] };
  }
  const vcpus = course.reports
    .filter(({ role }) => role === "vcpu")
    .map(({ report }) => report as TortureVcpuReport);
  return {
    violations: judge(created, options, course),
    reads: vcpus.reduce((sum, { reads }) => sum + reads, 0),
    writes: vcpus.reduce((sum, { writes }) => sum + writes, 0),
    emulated: vcpus.reduce((sum, { emulated }) => sum + emulated, 0),
    reports: course.reports,
  };
}
