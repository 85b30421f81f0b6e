import { z } from "zod";
import { count, seconds } from "./measures.js";

/** Passes of aging threads that ran without pause. */
export const agingPassesShape = {
  passes: count.describe("passes that were not cut short by the end"),
  totalSeconds: seconds,
  averagePassSeconds: seconds.describe("totalSeconds / passes; 0 without a pass"),
  passSeconds: z.array(seconds),
};
const agingPassesSchema = z.strictObject(agingPassesShape);
export type AgingPasses = z.infer<typeof agingPassesSchema>;
