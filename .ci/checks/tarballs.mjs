#!/usr/bin/env node
// What a user gets: all packed packages, installed by plain npm into an empty project. Each package's README example is
// type-checked there against the packed declarations and run on Node; each package is imported by itself as well.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packedTarballs, SCRATCH } from "../tarballs.mjs";
import { ROOT, rootManifest } from "../workspace.mjs";

const project = join(SCRATCH, "consumer");
const problems = [];

function run(what, command, args) {
  try {
    return execFileSync(command, args, { cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    problems.push(`${what}:\n${error.stdout ?? ""}${error.stderr ?? ""}`.trimEnd());
    return null;
  }
}

function writeJson(file, value) {
  writeFileSync(join(project, file), JSON.stringify(value, null, 2));
}

/** Writes the first `ts` block of the installed README; false if there is none. */
function writeExample(name) {
  const readme = join(project, "node_modules", name, "README.md");
  const text = existsSync(readme) ? readFileSync(readme, "utf8") : "";
  const block = /^```ts\n([\s\S]*?)^```$/m.exec(text);
  if (block === null) return false;
  writeFileSync(join(project, `${exampleOf(name)}.ts`), block[1]);
  return true;
}

function exampleOf(name) {
  return `${name.split("/")[1]}-example`;
}

const members = packedTarballs();
mkdirSync(project, { recursive: true });
writeJson("package.json", { name: "consumer", private: true, type: "module" });
const compilerOptions = {
  target: "ES2023",
  module: "NodeNext",
  types: ["node"],
  strict: true,
  noEmitOnError: true,
  outDir: "out",
};
writeJson("tsconfig.json", { compilerOptions, include: ["*.ts"] });

const nodeTypes = `@types/node@${rootManifest().devDependencies["@types/node"]}`;
const tarballs = members.map(({ tarball }) => tarball);
const installed = run("npm install", "npm", ["install", "--no-audit", "--no-fund", ...tarballs, nodeTypes]);
for (const { name } of installed === null ? [] : members) {
  if (!writeExample(name)) problems.push(`${name}: the packed README has no ts block`);
  const script = `const m = await import(${JSON.stringify(name)}); console.log(Object.keys(m).length)`;
  const exports = run(`import of ${name}`, process.execPath, ["--input-type=module", "-e", script]);
  if (exports !== null) console.log(`${name}: imports, ${exports.trim()} exports`);
}
const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
if (installed !== null && run("tsc over the examples", process.execPath, [tsc, "-p", "."]) !== null) {
  for (const file of readdirSync(join(project, "out"))) {
    if (run(`run of ${file}`, process.execPath, [join("out", file)]) !== null)
      console.log(`${file}: type-checks and runs`);
  }
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
