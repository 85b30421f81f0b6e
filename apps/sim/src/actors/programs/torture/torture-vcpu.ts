import type { Pfn } from "@kvm-age/spte";
import { ACCESS_EMULATE } from "@kvm-age/vcpu";
import type { Actor } from "../../actor.js";
import { Random } from "./random.js";
import type { TortureGuest, TortureTarget } from "./torture-guest.js";
import { tortureGuestOf } from "./torture-guest-of.js";
import { WrittenVersions } from "./written-versions.js";

/** What one vCPU does in a torture run. */
export interface TortureVcpuProgram {
  readonly type: "torture-vcpu";
  readonly seed: number;
  readonly accesses: number;
  readonly versions: SharedArrayBuffer;
}

/** How it went. `violations` are sentences; empty if every read gave what was written. */
export interface TortureVcpuReport {
  readonly reads: number;
  readonly writes: number;
  /** Accesses that met no slot, because it was being moved. */
  readonly emulated: number;
  readonly violations: string[];
}

const VERSION_BITS = 32n;
const MAX_VIOLATIONS = 20;
const ACCESSES_PER_DISTURBANCE = 40;

/**
 * A guest that reads and writes at random. Each page has one vCPU that writes it, and a token that names page and version. A read through a
 * translation that outlived its invalidation finds another page's token or a freed page's; a page whose dirt was
 * lost on the way through swap comes back with an older version, or empty. A guest with page tables edits them on the way, and a
 * translation that outlived its own invalidation finds another page's token, too.
 */
export class TortureVcpu {
  private readonly random: Random;
  private readonly versions: WrittenVersions;
  private readonly pages: number;
  /** Lowest version of each page that may still be read. */
  private readonly seen: Uint32Array;
  private readonly guest: TortureGuest;
  private readonly report = { reads: 0, writes: 0, emulated: 0, violations: [] as string[] };

  constructor(
    private readonly actor: Actor,
    private readonly program: TortureVcpuProgram,
  ) {
    this.random = new Random(program.seed);
    this.versions = new WrittenVersions(program.versions);
    this.pages = actor.vm.config.guestPages;
    this.seen = new Uint32Array(this.pages);
    this.guest = tortureGuestOf({ cpu: actor.cpu, vm: actor.vm, guest: actor.guest!, random: this.random });
  }

  run(): TortureVcpuReport {
    const { actor, random } = this;
    for (let access = 0; access < this.program.accesses && !actor.control.isStopping; access++) {
      const target = this.guest.target(this.pickPage());
      if (this.isOwn(target.page) && random.oneIn(3)) this.write(target);
      else this.read(target);
      if (random.oneIn(500)) actor.vcpu!.exitGuest(actor.cpu);
      if (random.oneIn(ACCESSES_PER_DISTURBANCE)) this.guest.disturb();
    }
    this.guest.finish();
    return this.report;
  }

  /** Half of the accesses go to a sixteenth of the pages, so that both hot and cold pages exist. */
  private pickPage(): number {
    return this.random.oneIn(2)
      ? (this.random.below(Math.ceil(this.pages / 16)) * 16) % this.pages
      : this.random.below(this.pages);
  }

  private isOwn(page: number): boolean {
    return page % this.actor.vm.config.vcpus === this.actor.init.index;
  }

  private write(target: TortureTarget): void {
    const { actor } = this;
    const { page } = target;
    const pfn = this.guest.access(target, "write");
    if (!this.isUsable(page, pfn)) return;
    const version = this.versions.get(page) + 1;
    actor.vm.hostMm.writeContent(actor.cpu, pfn as Pfn, (BigInt(page + 1) << VERSION_BITS) | BigInt(version));
    this.versions.publish(page, version);
    this.seen[page] = version;
    this.report.writes++;
  }

  private read(target: TortureTarget): void {
    const { actor } = this;
    const { page } = target;
    // Published before this access began, by whichever vCPU owns the page.
    const atLeast = Math.max(this.seen[page]!, this.versions.get(page));
    const pfn = this.guest.access(target, this.random.oneIn(8) ? "fetch" : "read");
    if (!this.isUsable(page, pfn)) return;
    const token = BigInt.asUintN(64, actor.vm.hostMm.readContent(actor.cpu, pfn as Pfn));
    this.report.reads++;
    this.judge(page, pfn, token, atLeast);
  }

  private isUsable(page: number, pfn: number): boolean {
    if (pfn >= 0) return true;
    if (pfn === ACCESS_EMULATE) this.report.emulated++;
    else this.violation(`page ${page}: access failed with ${pfn}`);
    return false;
  }

  private judge(page: number, pfn: number, token: bigint, atLeast: number): void {
    const version = Number(token & 0xffffffffn);
    const owner = Number(token >> VERSION_BITS) - 1;
    if (token !== 0n && owner !== page) {
      this.violation(`page ${page} at pfn 0x${pfn.toString(16)} holds page ${owner}, version ${version}`);
    } else if (version < atLeast) {
      this.violation(
        `page ${page} at pfn 0x${pfn.toString(16)} has version ${version}, ${atLeast} was written`,
      );
    }
    this.seen[page] = Math.max(version, this.seen[page]!);
  }

  private violation(text: string): void {
    if (this.report.violations.length < MAX_VIOLATIONS) this.report.violations.push(text);
  }
}
