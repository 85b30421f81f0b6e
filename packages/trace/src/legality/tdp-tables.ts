import { roundGfn, type TdpTable } from "./tdp-table.js";

function keyOf(asId: number, level: number, gfn: number): string {
  return `${asId}/${level}/${gfn}`;
}

/** The page tables of the TDP MMU that are believed to exist, found by what they cover. */
export class TdpTables {
  readonly #byKey = new Map<string, TdpTable[]>();
  readonly #roots: TdpTable[] = [];

  /** Tables of the level that hold the entry for the gfn: one for each tree. */
  covering(asId: number, level: number, gfn: number): readonly TdpTable[] {
    return this.#byKey.get(keyOf(asId, level, roundGfn(gfn, level + 1))) ?? [];
  }

  get roots(): readonly TdpTable[] {
    return this.#roots;
  }

  add(table: TdpTable): void {
    const key = keyOf(table.asId, table.level, table.gfn);
    const tables = this.#byKey.get(key);
    if (tables === undefined) this.#byKey.set(key, [table]);
    else tables.push(table);
  }

  /** A new root; roots that have been used and emptied make room. */
  addRoot(table: TdpTable): void {
    for (const root of [...this.#roots]) if (root.used && root.isEmpty) this.remove(root);
    this.#roots.push(table);
    this.add(table);
  }

  /** Forgets a table, and the tables it leads to. */
  remove(table: TdpTable): void {
    const key = keyOf(table.asId, table.level, table.gfn);
    const rest = (this.#byKey.get(key) ?? []).filter((other) => other !== table);
    if (rest.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, rest);
    const root = this.#roots.indexOf(table);
    if (root >= 0) this.#roots.splice(root, 1);
    for (const entry of table.entries.values()) if (entry.child !== null) this.remove(entry.child);
  }

  /** Removes the page from the roots: it turned out to be linked below another table. */
  isNoRoot(table: TdpTable): void {
    const root = this.#roots.indexOf(table);
    if (root >= 0) this.#roots.splice(root, 1);
    this.remove(table);
  }

  /** Forgets everything. */
  clear(): void {
    this.#byKey.clear();
    this.#roots.length = 0;
  }
}
