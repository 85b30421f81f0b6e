#!/usr/bin/env node
// Holds the code to the package table of ARCHITECTURE.md: a package imports exactly the packages its row names, a row
// names only rows above it, no package imports an app, and no file reaches into another package past its entry point.
// Tests import nothing more, except private packages of rows above, which their package.json declares in devDependencies.
import { readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { filesBelow, importsOf, ROOT, workspacePackages } from "../workspace.mjs";

const SCOPE = "@kvm-age/";
const problems = [];

/** Rows of the table as [package, [packages it may import]], in order. */
function tableRows() {
  const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");
  const section = text.split(/^## Packages$/m)[1]?.split(/^##/m)[0] ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("| `"));
  return rows.map((line) => {
    const cells = line.split("|").map((cell) => cell.trim());
    const names = (cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => fullName(name));
    return [names(cells[1])[0], names(cells.at(-2))];
  });
}

function fullName(name) {
  if (name === "apps/sim") return `${SCOPE}sim`;
  return name.startsWith(SCOPE) ? name : `${SCOPE}${name}`;
}

/** The package that a module specifier names, or null for a file or a foreign package. */
function packageOf(specifier) {
  return specifier.startsWith(SCOPE) ? specifier.split("/").slice(0, 2).join("/") : null;
}

function checkRow([name, allowed], index, rows) {
  const above = new Set(rows.slice(0, index).map(([other]) => other));
  for (const other of allowed) {
    if (!above.has(other))
      problems.push(`ARCHITECTURE.md: ${name} may import ${other}, which is not above it`);
  }
}

function checkManifest({ name, manifest }, allowed) {
  const declared = Object.keys(manifest.dependencies ?? {}).filter((other) => other.startsWith(SCOPE));
  for (const other of new Set([...declared, ...allowed])) {
    if (declared.includes(other) && allowed.includes(other)) continue;
    const where = declared.includes(other) ? "package.json" : "ARCHITECTURE.md";
    problems.push(`${name}: ${other} stands in ${where} only`);
  }
}

/** Our packages that a manifest declares for its tests. What is published must not need them, so they are private. */
function testDependencies({ name, manifest }) {
  const declared = Object.keys(manifest.devDependencies ?? {}).filter((other) => other.startsWith(SCOPE));
  const names = rows.map(([row]) => row);
  const above = names.slice(0, names.indexOf(name));
  for (const other of declared) {
    if (!privateNames.has(other) || !above.includes(other))
      problems.push(`${name}: ${other} in devDependencies is not a private package of a row above`);
  }
  return declared;
}

function checkFile({ name, directory }, allowed, file, used) {
  for (const { specifier } of importsOf(file)) {
    const target = packageOf(specifier);
    const where = relative(ROOT, file);
    if (target === null) {
      const leaves = specifier.startsWith(".") && !resolve(file, "..", specifier).startsWith(`${directory}/`);
      if (leaves) problems.push(`${where}: ${specifier} leaves the package`);
    } else if (target === name) {
      // A package's README example imports the package by its name.
    } else if (specifier !== target) problems.push(`${where}: ${specifier} goes past the entry point`);
    else if (allowed.includes(target)) used.add(target);
    else problems.push(`${where}: ${name} may not import ${target}`);
  }
}

const rows = tableRows();
rows.forEach(checkRow);
const allowedOf = new Map(rows);
const members = workspacePackages();
const privateNames = new Set(members.filter(({ manifest }) => manifest.private).map(({ name }) => name));
let files = 0;
for (const member of members) {
  const allowed = allowedOf.get(member.name);
  if (allowed === undefined) {
    problems.push(`ARCHITECTURE.md: no row for ${member.name}`);
    continue;
  }
  checkManifest(member, allowed);
  const forTests = testDependencies(member);
  const used = new Set();
  for (const folder of ["src", "test", "scripts"]) {
    for (const file of filesBelow(join(member.directory, folder), [".ts", ".mts", ".mjs"])) {
      files++;
      checkFile(member, folder === "test" ? [...allowed, ...forTests] : allowed, file, used);
    }
  }
  for (const other of [...allowed, ...forTests]) {
    if (!used.has(other)) problems.push(`${member.name}: ${other} is allowed but not imported`);
  }
}
for (const problem of problems) console.error(problem);
console.log(`${rows.length} rows, ${files} files`);
process.exitCode = problems.length === 0 && rows.length > 0 && files > 0 ? 0 : 1;
