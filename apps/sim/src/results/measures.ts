import { z } from "zod";

/** A count: an integer from 0. */
export const count: z.ZodNumber = z.int().nonnegative();
/** A duration in seconds, from 0. */
export const seconds: z.ZodNumber = z.number().nonnegative();
/** A duration in nanoseconds, from 0. */
export const nanoseconds: z.ZodNumber = z.number().nonnegative();
/** A part of a whole, 0 to 1. */
export const share: z.ZodNumber = z.number().min(0).max(1);
