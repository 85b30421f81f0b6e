import { availableParallelism, cpus } from "node:os";
import { z } from "zod";
import packageJson from "../../package.json" with { type: "json" };
import { count } from "./measures.js";

/** Where a result comes from: enough to judge it, and with options and seed to repeat it. */
export const provenanceSchema = z
  .strictObject({
    version: z.string().describe("version of @kvm-age/sim"),
    node: z.string().describe("version of Node, e.g. v20.19.0"),
    platform: z.string().describe("operating system and processor architecture, e.g. linux x64"),
    cpuModel: z.string().describe("processor model as the operating system names it"),
    cores: count.min(1).describe("processors this process may use"),
    startedAt: z.iso.datetime().describe("when the run began, UTC"),
    command: z.array(z.string()).describe("arguments of the command"),
  })
  .meta({ id: "Provenance" });
export type Provenance = z.infer<typeof provenanceSchema>;

/**
 * Describes this process and machine, now.
 * @param command arguments the user gave; default those of this process
 */
export function collectProvenance(command: readonly string[] = process.argv.slice(2)): Provenance {
  return {
    version: packageJson.version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpuModel: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    startedAt: new Date().toISOString(),
    command: [...command],
  };
}
