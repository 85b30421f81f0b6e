import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

it("the committed WebAssembly module is what wasm/atomics.wat assembles to", async () => {
  const script: string = new URL("../../scripts/assemble-wasm.mjs", import.meta.url).href;
  const { assemble } = (await import(/* @vite-ignore */ script)) as { assemble(): Promise<string> };
  const committed = readFileSync(new URL("../../src/wasm/atomics.generated.ts", import.meta.url), "utf8");
  expect(committed).toBe(await assemble());
});
