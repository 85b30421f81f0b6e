import type { KvmEventFields } from "../../schema/kvm-event-fields.js";
import type { PayloadScanner } from "../payload-scanner.js";
import { type EventTexts, hex, paddedHex } from "./event-text.js";

type MmioType = KvmEventFields["kvm_mmio"]["type"];

function readMmioType(scanner: PayloadScanner): MmioType {
  if (scanner.skips("read")) return "read";
  if (scanner.skips("write")) return "write";
  scanner.literal("unsatisfied-read");
  return "unsatisfied-read";
}

/** `%#016llx` of a gfn. */
const gfnText = (gfn: number): string => `0x${paddedHex(gfn, 14)}`;

/** Events of the VM beside its page tables: MMIO, the dirty ring, memory attributes. */
export const vmText: EventTexts<
  | "kvm_fast_mmio"
  | "kvm_mmio"
  | "kvm_dirty_ring_push"
  | "kvm_dirty_ring_reset"
  | "kvm_dirty_ring_exit"
  | "kvm_vm_set_mem_attributes"
> = {
  kvm_fast_mmio: {
    read: (scanner) => ({ gpa: scanner.hexAfter("fast mmio at gpa 0x") }),
    write: ({ gpa }) => `fast mmio at gpa 0x${hex(gpa)}`,
  },
  kvm_mmio: {
    read: (scanner) => {
      scanner.literal("mmio ");
      const type = readMmioType(scanner);
      const len = scanner.decimalAfter(" len ");
      return { type, len, gpa: scanner.hexAfter(" gpa 0x"), val: scanner.hex64After(" val 0x") };
    },
    write: ({ type, len, gpa, val }) => `mmio ${type} len ${len} gpa 0x${hex(gpa)} val 0x${hex(val)}`,
  },
  kvm_dirty_ring_push: {
    read: (scanner) => {
      const index = scanner.decimalAfter("ring ");
      const dirty_index = scanner.hexAfter(": dirty 0x");
      const reset_index = scanner.hexAfter(" reset 0x");
      const slot = scanner.decimalAfter(" slot ");
      const offset = scanner.hexAfter(" offset 0x");
      const used = scanner.decimalAfter(" (used ");
      scanner.literal(")");
      return { index, dirty_index, reset_index, slot, offset, used };
    },
    write: (ring) =>
      `ring ${ring.index}: dirty 0x${hex(ring.dirty_index)} reset 0x${hex(ring.reset_index)} ` +
      `slot ${ring.slot} offset 0x${hex(ring.offset)} (used ${ring.used})`,
  },
  kvm_dirty_ring_reset: {
    read: (scanner) => {
      const index = scanner.decimalAfter("ring ");
      const dirty_index = scanner.hexAfter(": dirty 0x");
      const reset_index = scanner.hexAfter(" reset 0x");
      const used = scanner.decimalAfter(" (used ");
      scanner.literal(")");
      return { index, dirty_index, reset_index, used };
    },
    write: (ring) =>
      `ring ${ring.index}: dirty 0x${hex(ring.dirty_index)} reset 0x${hex(ring.reset_index)} (used ${ring.used})`,
  },
  kvm_dirty_ring_exit: {
    read: (scanner) => ({ vcpu: scanner.decimalAfter("vcpu ") }),
    write: ({ vcpu }) => `vcpu ${vcpu}`,
  },
  kvm_vm_set_mem_attributes: {
    read: (scanner) => {
      const start = scanner.prefixedHex();
      const end = scanner.prefixedHexAfter(" -- ");
      const attr = scanner.hex64After(" [0x");
      scanner.literal("]");
      return { start, end, attr };
    },
    write: ({ start, end, attr }) => `${gfnText(start)} -- ${gfnText(end)} [0x${hex(attr)}]`,
  },
};
