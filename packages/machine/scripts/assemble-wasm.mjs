// Assembles wasm/atomics.wat into src/wasm/atomics.generated.ts. Part of the build; writes only on change.
import { readFileSync, writeFileSync } from "node:fs";
import wabtFactory from "wabt";

const source = new URL("../wasm/atomics.wat", import.meta.url);
const target = new URL("../src/wasm/atomics.generated.ts", import.meta.url);

/** The TypeScript file for the given text format: the binary as base64, embedded so that nothing reads files. */
export async function assemble() {
  const wabt = await wabtFactory();
  const module = wabt.parseWat("atomics.wat", readFileSync(source, "utf8"), { threads: true });
  const { buffer } = module.toBinary({});
  module.destroy();
  const base64 = Buffer.from(buffer).toString("base64");
  return `// Generated from wasm/atomics.wat by scripts/assemble-wasm.mjs. Do not edit.\nexport const atomicsWasmBase64: string =\n  "${base64}";\n`;
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const text = await assemble();
  let current = "";
  try {
    current = readFileSync(target, "utf8");
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  if (text !== current) writeFileSync(target, text);
}
