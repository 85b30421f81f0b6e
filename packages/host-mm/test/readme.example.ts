import { ThreadMachine } from "@kvm-age/machine";
import { checkHostMmInvariants, createHostMm } from "../src/index.js";

const machine = ThreadMachine.create({ arenaBytes: 16 << 20 });
const cpu = machine.attach();
const hostMm = createHostMm(cpu, machine, { pages: 64, transparentHugePages: false, contents: true });
const base = hostMm.mmapAnonymous(cpu, 16 * 4096, { thp: false });

hostMm.userAccess(cpu, base, true); // the VMM writes: first touch, Accessed and Dirty set
export const firstReport = hostMm.reclaimPages(cpu, { target: 1 }); // kept once, then written to swap
const request = { write: false, allowWritable: true, noWait: false, interruptible: false };
export const refault = hostMm.hvaToPfn(cpu, base, request); // KVM asks: swapped in, with a reference
if (refault.error === null) hostMm.releasePage(cpu, refault.pfn, "clean");
export const violations = checkHostMmInvariants(hostMm, cpu);
