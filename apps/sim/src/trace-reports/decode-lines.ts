import {
  describeSpteChange,
  isShadowPresentPte,
  type PgLevel,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import { entryLevel, noteFields, SPTE_CHANGE_WORDS, spteChangeKind, type TraceRecord } from "@kvm-age/trace";
import { hex } from "./hex.js";
import { valueWords } from "./value-words.js";

/** The fields that changed; nothing if the two values have no fields in common. */
function changeWords(format: SpteFormat, before: Spte, after: Spte, level: PgLevel | null): string {
  const changes = describeSpteChange(format, before, after, level ?? undefined);
  const fields = changes.filter(({ name }) => name !== "kind");
  return fields.map(({ name, before: was, after: is }) => `${name} ${hex(was)} -> ${hex(is)}`).join(", ");
}

/** What a change did, and the value afterwards: on one line if the two values have no fields in common. */
function changeLines(format: SpteFormat, before: Spte, after: Spte, level: PgLevel | null): string[] {
  const kind = level === null ? "changed" : SPTE_CHANGE_WORDS[spteChangeKind(format, before, after, level)];
  const changed = changeWords(format, before, after, level);
  if (changed !== "") return [`${kind}: ${changed}`, `now ${valueWords(format, after, level)}`];
  const gone = isShadowPresentPte(before) && !isShadowPresentPte(after);
  return [
    gone
      ? `${kind}: was ${valueWords(format, before, level)}`
      : `${kind}: ${valueWords(format, after, level)}`,
  ];
}

/** What a dump of page tables shows (`val=` with `level=`). */
function noteLines(format: SpteFormat, text: string): string[] {
  const fields = noteFields(text);
  const value = /^[0-9a-f]{1,16}$/.exec(fields.get("val") ?? "")?.[0];
  const level = entryLevel(Number(fields.get("level")));
  return value === undefined || level === null
    ? []
    : [valueWords(format, BigInt(`0x${value}`) as Spte, level)];
}

/** The words for the SPTEs of a record, a line each; none for a record without. */
export function decodedLines(format: SpteFormat, record: TraceRecord): readonly string[] {
  if (record.kind === "note") return noteLines(format, record.text);
  if (record.kind !== "kvm") return [];
  switch (record.name) {
    case "kvm_tdp_mmu_spte_changed": {
      const level = entryLevel(record.fields.level);
      const [before, after] = [record.fields.old_spte as Spte, record.fields.new_spte as Spte];
      return changeLines(format, before, after, level);
    }
    case "fast_page_fault": {
      const [before, after] = [record.fields.old_spte as Spte, record.fields.new_spte as Spte];
      if (before === after) return [valueWords(format, after, null)];
      return changeLines(format, before, after, null);
    }
    case "kvm_mmu_set_spte":
    case "kvm_mmu_split_huge_page":
      return [valueWords(format, record.fields.spte as Spte, entryLevel(record.fields.level))];
    case "check_mmio_spte":
      return [valueWords(format, record.fields.spte as Spte, null)];
    default:
      return [];
  }
}
