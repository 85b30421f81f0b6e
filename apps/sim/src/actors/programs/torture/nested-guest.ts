import type { TortureTarget } from "./torture-guest.js";
import type { TortureProcessor } from "./torture-processor.js";
import { WindowedGuest } from "./windowed-guest.js";

/** A hypervisor and its guest in turns: L1 accesses its memory without paging and edits the nested tables, through which L2 accesses it. */
export class NestedGuest extends WindowedGuest {
  private inL2 = false;

  constructor(processor: TortureProcessor) {
    super(processor);
    // Whatever ran before has left either level behind.
    this.processor.guest.exitL2(processor.cpu);
    this.enterL2();
  }

  /** L1 has no window. */
  override target(page: number): ReturnType<WindowedGuest["target"]> {
    if (this.inL2) return super.target(page);
    const target: TortureTarget = { page, address: this.processor.vm.gpaOf(page) };
    return { ...target, slot: null };
  }

  override disturb(): void {
    if (!this.processor.random.oneIn(3)) super.disturb();
    else if (this.inL2) this.exitL2();
    else this.enterL2();
  }

  protected override storeEntry(gpa: number, value: bigint): void {
    this.exitL2();
    const { guest, cpu } = this.processor;
    guest.store(cpu, gpa, value);
  }

  protected override invalidate(): void {
    this.flush();
  }

  protected override flush(): void {
    this.exitL2();
    const { guest, cpu } = this.processor;
    guest.invept(cpu);
    this.enterL2();
  }

  protected override loadRoot(): void {
    this.exitL2();
    this.enterL2();
  }

  /** An exit of L2 for a violation of L1's tables. */
  protected override isOwnFault(): boolean {
    return this.processor.guest.takeNestedFault();
  }

  private exitL2(): void {
    if (!this.inL2) return;
    this.processor.guest.exitL2(this.processor.cpu);
    this.inL2 = false;
  }

  private enterL2(): void {
    if (this.inL2) return;
    this.processor.guest.enterL2(this.processor.cpu, this.windows.rootGpa(this.root));
    this.inL2 = true;
  }
}
