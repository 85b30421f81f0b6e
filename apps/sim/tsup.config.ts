import { defineConfig } from "tsup";
import { base } from "../../tsup.base";

export default defineConfig({
  ...base,
  entry: {
    cli: "src/cli.ts",
    "actor.worker": "src/actors/actor.worker.ts",
    bench: "src/bench/main.ts",
    torture: "src/torture/main.ts",
  },
});
