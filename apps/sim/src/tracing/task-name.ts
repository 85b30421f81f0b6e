import type { ActorRole } from "../actors/protocol.js";

/** `TASK_COMM_LEN` without the terminator. */
const MAX_COMM = 15;

/**
 * Name of a thread as a trace shows it: vCPUs as QEMU names them; reclaim's as the kernel names it; agers, which use the page_idle bitmap or
 * call the notifier themselves, as the selftests appear, by the program's name.
 */
export function taskName(role: ActorRole, index: number, scenario: string): string {
  switch (role) {
    case "vcpu":
      return `CPU ${index}/KVM`;
    case "ager":
      return scenario.slice(0, MAX_COMM);
    case "reclaimer":
      return "kswapd0";
    default:
      return "kvm-age";
  }
}
