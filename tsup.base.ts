import type { Options } from "tsup";

/** Shared build options: JavaScript only; declarations come from `tsc -p tsconfig.build.json`. */
export const base: Options = {
  format: ["esm"],
  target: "node20",
  sourcemap: true,
  clean: true,
  dts: false,
};
