#!/usr/bin/env node
// The documents name things that exist: every file in backquotes is there (a path may leave out its beginning), every
// identifier in camel case occurs in the sources, every relative link leads somewhere.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { filesBelow, ROOT, workspacePackages } from "../workspace.mjs";

const DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/conformance.md"];
const IDENTIFIER = /^[A-Za-z]+[a-z0-9]*[A-Z][A-Za-z0-9]*$/;

const ENDINGS = [".ts", ".mts", ".mjs", ".wat", ".sh", ".json"];
const packageFiles = workspacePackages().flatMap(({ directory }) => [
  ...rootFilesOf(directory),
  ...["src", "test", "scripts", "wasm"].flatMap((folder) => filesBelow(join(directory, folder), ENDINGS)),
]);
const sources = [...rootFilesOf(ROOT), ...filesBelow(join(ROOT, ".ci"), ENDINGS), ...packageFiles];

/** Files of a folder itself, as far as they are sources. */
function rootFilesOf(directory) {
  return readdirSync(directory)
    .filter((name) => ENDINGS.some((ending) => name.endsWith(ending)))
    .map((name) => join(directory, name));
}

const words = new Set(
  sources.flatMap((file) => readFileSync(file, "utf8").match(/[A-Za-z][A-Za-z0-9]*/g) ?? []),
);

/** What is wrong with a name; null for one that is right, or is a pattern. */
function problemOf(token) {
  if (/[*<]/.test(token)) return null;
  if (/\.(ts|mjs|wat|sh)$/.test(token)) {
    const there =
      existsSync(join(ROOT, token)) ||
      sources.some((file) => `/${relative(ROOT, file)}`.endsWith(`/${token}`));
    return there ? null : "no such file";
  }
  const parts = token.split(".").filter((part) => IDENTIFIER.test(part));
  const unknown = parts.filter((part) => !words.has(part));
  return unknown.length === 0 ? null : `no ${unknown.join(", ")} in the sources`;
}

const problems = DOCUMENTS.flatMap((document) => {
  const text = readFileSync(join(ROOT, document), "utf8").replace(/^```[\s\S]*?^```$/gm, "");
  const tokens = [...new Set([...text.matchAll(/`([^`\s]+)`/g)].map(([, token]) => token))];
  const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link]) => link);
  console.log(`${document}: ${tokens.length} names, ${links.length} links`);
  return [
    ...tokens.map((token) => [token, problemOf(token)]),
    ...links.map((link) => [link, existsSync(join(ROOT, dirname(document), link)) ? null : "no such file"]),
  ]
    .filter(([, problem]) => problem !== null)
    .map(([token, problem]) => `${document}: ${token}: ${problem}`);
});
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
