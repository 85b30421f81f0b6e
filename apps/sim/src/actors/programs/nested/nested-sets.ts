/** The parts that each vCPU's memory is divided into, in this order: who accesses them. */
export const NESTED_SETS = ["L1", "L2", "L1 and L2", "nobody"] as const;
export type NestedSet = (typeof NESTED_SETS)[number];

/** How the test memory is divided: into a part for each vCPU, and each part into the sets. Plain data. */
export interface NestedSets {
  readonly vcpus: number;
  /** 4 KiB pages of each set of each vCPU. */
  readonly pagesPerSet: number;
}

/** Index in `NESTED_SETS` of the set that a test page belongs to. */
export function nestedSetOf({ pagesPerSet }: NestedSets, page: number): number {
  return Math.floor(page / pagesPerSet) % NESTED_SETS.length;
}

/** First test page of one vCPU's part. */
export function firstPageOfVcpu({ pagesPerSet }: NestedSets, vcpu: number): number {
  return vcpu * NESTED_SETS.length * pagesPerSet;
}

/** First page of a set of one vCPU. */
export function firstPageOfSet(sets: NestedSets, vcpu: number, set: NestedSet): number {
  return firstPageOfVcpu(sets, vcpu) + NESTED_SETS.indexOf(set) * sets.pagesPerSet;
}
