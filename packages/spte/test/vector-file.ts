import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** Values as they appear in the vector files: 64-bit numbers are hexadecimal strings. */
export type Fields = Record<string, unknown>;

export interface SetUp extends Fields {
  readonly mode: "ept" | "npt" | "shadow";
  readonly cpuid_maxphyaddr: number;
  readonly x86_phys_bits: number;
  readonly x86_cache_bits: number;
  readonly bug_l1tf: boolean;
  readonly sme_me_mask: string;
  readonly mmio_caching_param: boolean;
  readonly calls: readonly (readonly [string, ...unknown[]])[];
}

export interface VectorCase {
  readonly id?: string;
  readonly config: string;
  readonly in: Fields;
  readonly out: Fields;
}

export interface VectorFile {
  readonly source: string;
  readonly configs?: Record<string, { readonly in: SetUp; readonly out: Fields }>;
  readonly cases: readonly VectorCase[];
}

/** Reads one vector file recorded from the kernel's own functions. */
export function readVectorFile(ruleSetName: string, set: string): VectorFile {
  const path = new URL(`./fixtures/${ruleSetName}/${set}.json.gz`, import.meta.url);
  return JSON.parse(gunzipSync(readFileSync(path)).toString("utf8")) as VectorFile;
}

/** Writes a 64-bit value the way the vector files do. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
