import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type Address, type Cpu, offset, ThreadMachine } from "@kvm-age/machine";
import {
  createSpteFormat,
  type Gfn,
  isFrozenSpte,
  isLastSpte,
  isShadowPresentPte,
  type KvmMmuPageRole,
  makeNonleafSpte,
  makeRole,
  type PgLevel,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  spteIndex,
} from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { TdpIter } from "../src/iterator/tdp-iter.js";
import { KVM_MMU_PAGE_BYTES, type KvmMmuPage, roleWord, sptWord } from "../src/page/kvm-mmu-page.js";

type Kind = "T" | "L" | "F" | "N";

interface IterCase {
  id: string;
  in: {
    root_level: PgLevel;
    min_level: PgLevel;
    start: string;
    end: string;
    entries: [PgLevel, string, Kind][];
    yield_at: number[];
    gfn_direct_bits?: string;
    mirror_root?: boolean;
  };
  out: { runs: [number, string, number, Kind][]; visits: number; yielded: boolean[]; valid_at_end: boolean };
}

const format = createSpteFormat({ mode: "npt" });
const LARGE_PAGE = 0x80n;

/** Page tables made by hand from a case's list of entries. */
class Tables {
  private readonly tables = new Map<string, Address>();
  readonly root: KvmMmuPage;

  constructor(
    private readonly machine: ThreadMachine,
    private readonly cpu: Cpu,
    private readonly rootLevel: PgLevel,
    private readonly gfnBits: number,
  ) {
    this.root = machine.frames.allocateSpan(cpu, KVM_MMU_PAGE_BYTES) as KvmMmuPage;
    const spt = machine.frames.allocateFrame(cpu, SHADOW_NONPRESENT_VALUE);
    cpu.writeOnce32(sptWord(this.root), spt);
    const role: KvmMmuPageRole = makeRole(format.rules, { level: rootLevel, direct: true });
    cpu.writeOnce32(roleWord(this.root), role);
    this.tables.set(`${rootLevel}:0`, spt);
  }

  private tableAt(level: PgLevel, gfn: number): Address {
    const span = 512 ** level;
    const table = this.tables.get(`${level}:${level === this.rootLevel ? 0 : Math.floor(gfn / span)}`);
    if (table === undefined) throw new Error(`no table at level ${level} for gfn ${gfn.toString(16)}`);
    return table;
  }

  set(level: PgLevel, gfn: number, kind: Kind): void {
    const { cpu } = this;
    const sptep = offset(this.tableAt(level, gfn), spteIndex((gfn + this.gfnBits) as Gfn, level) * 8);
    if (kind === "F") cpu.writeOnce(sptep, format.frozenSpte);
    else if (kind === "L")
      cpu.writeOnce(sptep, 0x867n | (level > 1 ? LARGE_PAGE : 0n) | (BigInt(gfn) << 12n));
    else if (kind === "T") {
      const spt = this.machine.frames.allocateFrame(cpu, SHADOW_NONPRESENT_VALUE);
      cpu.writeOnce(sptep, makeNonleafSpte(format, BigInt(spt), false));
      this.tables.set(`${level - 1}:${Math.floor(gfn / 512 ** (level - 1))}`, spt);
    }
  }
}

function kindOf(spte: Spte, level: PgLevel): Kind {
  if (isFrozenSpte(format, spte)) return "F";
  if (!isShadowPresentPte(spte)) return "N";
  return isLastSpte(spte, level) ? "L" : "T";
}

/** The walk of a case, as runs of visits that differ only in their gfn. */
function walk(test: IterCase): IterCase["out"] {
  const input = test.in;
  const machine = ThreadMachine.create({ arenaBytes: 16 << 20, maxCpus: 1 });
  const cpu = machine.attach();
  const gfnBits = input.mirror_root === true ? 0 : Number(input.gfn_direct_bits ?? 0);
  const tables = new Tables(machine, cpu, input.root_level, gfnBits);
  for (const [level, gfn, kind] of input.entries) tables.set(level, Number(gfn), kind);
  const out: IterCase["out"] = { runs: [], visits: 0, yielded: [], valid_at_end: true };
  const iter = new TdpIter(format);
  const end = Number(input.end);
  iter.start(cpu, tables.root, input.min_level, Number(input.start) as Gfn, gfnBits);
  for (; iter.valid && iter.gfn < end; iter.next(cpu)) {
    const kind = kindOf(iter.oldSpte, iter.level);
    const last = out.runs.at(-1);
    const continues =
      last !== undefined &&
      last[0] === iter.level &&
      last[3] === kind &&
      Number(last[1]) + last[2] * 512 ** (iter.level - 1) === iter.gfn;
    if (continues) last[2]++;
    else out.runs.push([iter.level, `0x${iter.gfn.toString(16)}`, 1, kind]);
    const visit = out.visits++;
    if (!input.yield_at.includes(visit)) continue;
    const granted = iter.nextLastLevelGfn !== iter.yieldedGfn;
    out.yielded.push(granted);
    if (granted) iter.yielded = true;
  }
  out.valid_at_end = iter.valid;
  return out;
}

describe.each([
  ["linux-6.15", 299],
  ["linux-7.3", 314],
])("tdp-iter vectors of %s", (ruleSet, count) => {
  const file = new URL(`fixtures/${ruleSet}/tdp-iter.json.gz`, import.meta.url);
  const { cases } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as { cases: IterCase[] };

  it("holds every case", () => expect(cases).toHaveLength(count));

  it.each(cases.map((test) => [test.id, test] as const))("%s", (_id, test) => {
    expect(walk(test)).toEqual(test.out);
  });
});
