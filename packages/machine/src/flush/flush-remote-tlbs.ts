import type { Cpu } from "../cpu/cpu.js";
import {
  EXITING_GUEST_MODE,
  type FlushDomain,
  flushesSentWord,
  flushRequestsWord,
  IN_GUEST_MODE,
  memberCountWord,
  memberModeWord,
  memberRequestsWord,
  OUTSIDE_GUEST_MODE,
  READING_SHADOW_PAGE_TABLES,
  REQUEST_TLB_FLUSH,
} from "./flush-domain.js";

/**
 * `kvm_make_all_cpus_request` with a bit and a wait: ORs `request` into every member, interrupts those inside the guest and
 * waits until each of them has left it (or the lockless walk). Returns whether anybody was interrupted.
 *
 * The OR is a full barrier between the request and the read of the mode: a member either sees the request before it
 * enters, or is seen inside and interrupted. The caller may itself be a member outside the guest.
 */
export function requestAllMembers(cpu: Cpu, domain: FlushDomain, request: number): boolean {
  const members = cpu.loadAcquire32(memberCountWord(domain));
  for (let member = 0; member < members; member++) {
    cpu.fetchOr32(memberRequestsWord(domain, member), request, "full");
  }
  let interrupted = false;
  for (let member = 0; member < members; member++) {
    if (interruptMember(cpu, domain, member)) interrupted = true;
  }
  return interrupted;
}

function interruptMember(cpu: Cpu, domain: FlushDomain, member: number): boolean {
  const modeWord = memberModeWord(domain, member);
  // A failed exchange means that the member left the guest, or is on its way out, by itself.
  const mode = cpu.cmpxchg32(modeWord, IN_GUEST_MODE, EXITING_GUEST_MODE, "full");
  if (mode === OUTSIDE_GUEST_MODE) return false;
  const waitedFor = mode === READING_SHADOW_PAGE_TABLES ? READING_SHADOW_PAGE_TABLES : EXITING_GUEST_MODE;
  // Any other mode is the acknowledgement: to be inside again the member must have handled its requests.
  while (cpu.loadAcquire32(modeWord) === waitedFor) cpu.relax(modeWord);
  return true;
}

/** `kvm_flush_remote_tlbs` in terms of single accesses, for machines that model nothing cheaper. */
export function flushRemoteTlbs(cpu: Cpu, domain: FlushDomain): void {
  cpu.fetchAdd32(flushRequestsWord(domain), 1, "relaxed");
  if (requestAllMembers(cpu, domain, REQUEST_TLB_FLUSH))
    cpu.fetchAdd32(flushesSentWord(domain), 1, "relaxed");
}
