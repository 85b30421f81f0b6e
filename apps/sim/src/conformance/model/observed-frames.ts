import { type Address, type Cpu, FrameAllocator, type ThreadMachine } from "@kvm-age/machine";

/** The machine's frames, and somebody who is told of every frame that is given back. */
export class ObservedFrames extends FrameAllocator {
  constructor(
    machine: ThreadMachine,
    private readonly freed: (address: Address) => void,
  ) {
    super(machine.frames.table);
  }

  override freeFrame(cpu: Cpu, address: Address): void {
    super.freeFrame(cpu, address);
    this.freed(address);
  }
}
