import type { TraceIdentity, TraceRecord } from "@kvm-age/trace";
import { findAgevmStart } from "./agevm-start.js";

/** Level of the pages that are roots: four-level tables, or the second-level tables of a guest without paging, of which there are four. */
export type RootPageLevel = 2 | 4;

/** What the vCPUs' roots look like: with shadow paging a guest without paging has a three-level root, whose top is no page of its own. */
export function rootPageLevelOf(identity: TraceIdentity, records: readonly TraceRecord[]): RootPageLevel {
  return identity.mode === "shadow" && findAgevmStart(records)?.nonpaging === true ? 2 : 4;
}
