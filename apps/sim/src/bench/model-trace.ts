import type { TraceEvent } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { LONG_MODE } from "@kvm-age/shadow-mmu";
import { createSpteFormat, linux73, PG_LEVEL_4K } from "@kvm-age/spte";
import { formatTraceRecord, type KvmEvent } from "@kvm-age/trace";
import { PFERR_GUEST_FINAL_MASK, PFERR_WRITE_MASK } from "@kvm-age/vcpu";
import { ModelVm } from "../conformance/model/model-vm.js";

const SLOT = { slot: 0, gfn: 0x40000, hva: 0x7f0000000000 } as const;
const FIRST_PFN = 0x100000;
const PAGE_BYTES = 4096;
/** Exit qualification of a write to a page that is not mapped: the linear address is known, and the access is not one of the walk. */
const WRITE_QUALIFICATION = 0x182n;
const WRITE_ERROR_CODE = BigInt(PFERR_WRITE_MASK) | BigInt(PFERR_GUEST_FINAL_MASK);
/** The kernel's defaults: what a trace is taken for that shows nothing else. */
const TUNING = {
  proveMmu: false,
  nxHugePages: false,
  cpuDirtyLog: false,
  eagerPageSplit: true,
  slotZapAll: true,
} as const;
const TASK = { line: 0, comm: "model", pid: 1, cpu: 0, flags: ".....", timestampNs: 0 } as const;

/** A VM of the packages that writes down what it does as a kernel's trace shows it. */
class RecordedModel {
  readonly lines: string[] = [];
  private readonly vm = new ModelVm({
    format: createSpteFormat({ mode: "ept", ruleSet: linux73 }),
    tdpMmu: true,
    policy: "lockless",
    tuning: TUNING,
    paging: { ...LONG_MODE, cr3: 0 },
  });

  constructor(private readonly pages: number) {
    this.vm.setSlot({ ...SLOT, pages });
    this.vm.takeEvents();
    this.vm.vcpu(0).enter(this.vm.cpu);
    this.write();
  }

  fault(page: number): void {
    const address = this.gpaOf(page);
    this.vm.host.learnPage(this.hvaOf(page), FIRST_PFN + page, PG_LEVEL_4K, true);
    this.line({
      name: "kvm_page_fault",
      fields: { vcpu: 0, rip: 0n, address: BigInt(address), error_code: WRITE_QUALIFICATION },
    });
    this.vm.vcpu(0).fault(this.vm.cpu, address, WRITE_ERROR_CODE);
    this.write();
  }

  age(page: number): void {
    const hva = this.hvaOf(page);
    this.vm.notifier.clearYoung(this.vm.cpu, hva, (hva + PAGE_BYTES) as Hva);
    this.write();
  }

  /** The guest writes to every page; hardware needs nobody for it. */
  use(): void {
    for (let page = 0; page < this.pages; page++) {
      this.vm.vcpu(0).access(this.vm.cpu, this.gpaOf(page), "write");
    }
  }

  private gpaOf(page: number): number {
    return (SLOT.gfn + page) * PAGE_BYTES;
  }

  private hvaOf(page: number): Hva {
    return (SLOT.hva + page * PAGE_BYTES) as Hva;
  }

  private write(): void {
    for (const event of this.vm.takeEvents()) this.line(event);
  }

  /** What the packages emit are events of the schema. */
  private line(event: TraceEvent): void {
    const record = { ...TASK, kind: "kvm", ...event } as unknown as KvmEvent;
    this.lines.push(formatTraceRecord(record, { kernel: "linux-7.3", form: "trace" }));
  }
}

/** The trace of a guest that writes to all of its pages, and is aged page by page and used as a whole a number of times. */
export function modelTrace(pages: number, rounds: number): string {
  const model = new RecordedModel(pages);
  for (let page = 0; page < pages; page++) model.fault(page);
  for (let round = 0; round < rounds; round++) {
    for (let page = 0; page < pages; page++) model.age(page);
    model.use();
  }
  return `${model.lines.join("\n")}\n`;
}
