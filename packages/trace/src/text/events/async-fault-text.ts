import type { KvmEventFields } from "../../schema/kvm-event-fields.js";
import { type EventText, type EventTexts, hex } from "./event-text.js";

const tryText: EventText<KvmEventFields["kvm_try_async_get_page"]> = {
  read: (scanner) => {
    scanner.literal("gva = ");
    const gva = scanner.prefixedHex64();
    return { gva, gfn: scanner.prefixedHexAfter(", gfn = ") };
  },
  write: ({ gva, gfn }) => `gva = 0x${hex(gva)}, gfn = 0x${hex(gfn)}`,
};

const tokenText: EventText<KvmEventFields["kvm_async_pf_ready"]> = {
  read: (scanner) => {
    scanner.literal("token ");
    const token = scanner.prefixedHex64();
    scanner.literal(" gva ");
    return { token, gva: scanner.prefixedHex64() };
  },
  write: ({ token, gva }) => `token 0x${hex(token)} gva 0x${hex(gva)}`,
};

/** Asynchronous page faults. */
export const asyncFaultText: EventTexts<
  | "kvm_try_async_get_page"
  | "kvm_async_pf_repeated_fault"
  | "kvm_async_pf_not_present"
  | "kvm_async_pf_ready"
  | "kvm_async_pf_completed"
> = {
  kvm_try_async_get_page: tryText,
  kvm_async_pf_repeated_fault: tryText,
  kvm_async_pf_not_present: tokenText,
  kvm_async_pf_ready: tokenText,
  kvm_async_pf_completed: {
    read: (scanner) => {
      scanner.literal("gva ");
      const gva = scanner.prefixedHex64();
      return { gva, address: scanner.prefixedHexAfter(" address ") };
    },
    write: ({ gva, address }) => `gva 0x${hex(gva)} address 0x${hex(address)}`,
  },
};
