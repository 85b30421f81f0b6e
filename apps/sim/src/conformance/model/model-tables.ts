import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import {
  type Gfn,
  gfnRoundForLevel,
  isLastSpte,
  isShadowPresentPte,
  type PgLevel,
  type Spte,
  type SpteFormat,
  spteIndex,
  spteToPfn,
} from "@kvm-age/spte";
import type { RootPageLevel } from "../input/root-level.js";

/** A present entry of the model's tables. */
export interface ModelEntry {
  readonly address: Address;
  readonly gfn: number;
  readonly level: PgLevel;
  readonly spte: Spte;
  readonly last: boolean;
}

const PDPTE_PRESENT = 1n;
const TABLE_BYTES = 4096;

/** Reads the model's tables as hardware finds them. With shadow paging a "gfn" here is a page of the guest-linear address space. */
export class ModelTables {
  constructor(
    private readonly format: SpteFormat,
    private readonly cpu: Cpu,
    private readonly rootPageLevel: RootPageLevel,
  ) {}

  /** The present entries on the way from `root` to the leaf of `gfn`, from the top down. */
  path(root: Address, gfn: number): ModelEntry[] {
    const entries: ModelEntry[] = [];
    let table = root;
    // The top of a three-level root is no page, but an array above four pages of level 2.
    const top = this.rootPageLevel === 2 ? 3 : 4;
    for (let level: number = top; level > 0 && table !== NULL_ADDRESS; level--) {
      const entry = this.entry(table, gfn, level as PgLevel);
      if (entry === null) break;
      entries.push(entry);
      if (entry.last) break;
      table = (spteToPfn(this.format, entry.spte) * TABLE_BYTES) as Address;
    }
    return entries;
  }

  /** The present entry of `gfn` at `level`, null if there is none. */
  find(root: Address, gfn: number, level: number): ModelEntry | null {
    return this.path(root, gfn).find((entry) => entry.level === level) ?? null;
  }

  /** The present entries for [first, first + count), each once, tables before what they hold. */
  range(root: Address, first: number, count: number): ModelEntry[] {
    const found = new Map<Address, ModelEntry>();
    for (let gfn = first; gfn < first + count; gfn++) {
      for (const entry of this.path(root, gfn)) found.set(entry.address, entry);
    }
    return [...found.values()];
  }

  private entry(table: Address, gfn: number, level: PgLevel): ModelEntry | null {
    const address = offset(table, spteIndex(gfn as Gfn, level) * 8);
    const spte = this.cpu.readOnce(address) as Spte;
    const isPdpte = this.rootPageLevel === 2 && level === 3;
    if (isPdpte ? (spte & PDPTE_PRESENT) === 0n : !isShadowPresentPte(spte)) return null;
    const last = !isPdpte && isLastSpte(spte, level);
    return { address, gfn: gfnRoundForLevel(gfn as Gfn, level), level, spte, last };
  }
}
