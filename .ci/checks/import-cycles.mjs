#!/usr/bin/env node
// No file of a package imports itself through others. Imports of types alone vanish in the build and are not followed.
import { existsSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { filesBelow, importsOf, ROOT, workspacePackages } from "../workspace.mjs";

/** The source file behind a relative specifier, or null if it is none. */
function target(file, specifier) {
  if (!specifier.startsWith(".")) return null;
  const source = resolve(file, "..", specifier).replace(/\.js$/, ".ts");
  return existsSync(source) ? source : null;
}

/** Every cycle as the files on it, found by depth-first search; each once. */
function cyclesOf(files) {
  const done = new Set();
  const path = [];
  const cycles = [];
  const visit = (file) => {
    const at = path.indexOf(file);
    if (at >= 0) cycles.push([...path.slice(at), file]);
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    for (const { specifier, typeOnly } of importsOf(file)) {
      const next = typeOnly ? null : target(file, specifier);
      if (next !== null) visit(next);
    }
    path.pop();
    done.add(file);
  };
  files.forEach(visit);
  return cycles;
}

let cycles = 0;
let files = 0;
for (const { directory } of workspacePackages()) {
  const sources = filesBelow(join(directory, "src"), [".ts"]);
  files += sources.length;
  for (const cycle of cyclesOf(sources)) {
    cycles++;
    console.error(cycle.map((file) => relative(ROOT, file)).join("\n  -> "));
  }
}
console.log(`${files} files, ${cycles} cycles`);
process.exitCode = cycles === 0 && files > 0 ? 0 : 1;
