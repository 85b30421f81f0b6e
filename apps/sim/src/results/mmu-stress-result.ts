import { z } from "zod";
import { mmuStressOptionsSchema } from "../options/mmu-stress-options.js";
import { agingPassesShape } from "./aging-passes.js";
import { machineFigures } from "./machine-figures.js";
import { count, seconds } from "./measures.js";
import { provenanceSchema } from "./provenance.js";

/** Name and version of the format; changes whenever a field comes, goes away or changes its meaning. */
export const MMU_STRESS_SCHEMA_ID = "kvm-age/mmu-stress@1";

/** What the selftest calls its rendezvous, in order. */
export const STRESS_RENDEZVOUS = [
  "spawning",
  "run 1",
  "reset",
  "run 2",
  "mprotect RO",
  "mprotect RW",
] as const;

const rendezvousSchema = z.strictObject({
  name: z.enum(STRESS_RENDEZVOUS),
  seconds: seconds.describe("from the release of the vCPUs by the rendezvous before to the last one here"),
});

const vcpuSchema = z.strictObject({
  vcpu: count,
  firstPage: count.describe("of its chunk, counted in the test memory"),
  pages: count,
  accesses: count.describe("as the hardware counted them"),
  readOnly: z
    .strictObject({
      stores: count.describe("that succeeded"),
      efaults: count.describe("stores that ended in EFAULT and were skipped"),
      lateStores: count.describe(
        "of stores, those begun after mprotect(PROT_READ) had returned; each is an error",
      ),
    })
    .describe("stage 3: stores while the memory becomes read-only"),
  writable: z
    .strictObject({
      stores: count.describe("that succeeded, one for each page"),
      efaults: count.describe("stores that ended in EFAULT and were tried again"),
      lateEfaults: count.describe(
        "of efaults, those begun after mprotect(PROT_READ | PROT_WRITE) had returned; each is an error",
      ),
    })
    .describe("stage 4: stores while the memory becomes writable again"),
});

const endingSchema = z.strictObject({
  deletedSlots: z.array(count).describe("slot numbers, in the order of their deletion"),
  unmappedPages: count.describe("4 KiB pages of host memory that munmap took away"),
  residentPages: count.describe("4 KiB pages of host memory mapped afterwards"),
  leakedPages: count.describe("host pages still in use after the process exited; each is an error"),
});

/** Result of the scenario `mmu-stress`. */
export const mmuStressResultSchema = z
  .strictObject({
    schema: z.literal(MMU_STRESS_SCHEMA_ID),
    provenance: provenanceSchema,
    options: mmuStressOptionsSchema,
    seed: count,
    interrupted: z.boolean(),
    warnings: z.array(z.string()),
    slots: z.strictObject({
      count,
      pages: count.describe("of each"),
      startGpa: count,
      endGpa: count.describe("exclusive"),
    }),
    rendezvous: z.array(rendezvousSchema).describe("those that were reached"),
    vcpus: z.array(vcpuSchema).describe("empty if interrupted"),
    efaults: count.describe("of all vCPUs, in both stages; 0 if interrupted"),
    aging: z
      .strictObject({
        ...agingPassesShape,
        idlePages: count.describe("pages found still idle, summed over the passes"),
      })
      .nullable()
      .describe("null without agers"),
    ending: endingSchema.nullable().describe("null if interrupted"),
    ...machineFigures,
  })
  .meta({ id: "MmuStressResult" });
export type MmuStressResult = z.infer<typeof mmuStressResultSchema>;
