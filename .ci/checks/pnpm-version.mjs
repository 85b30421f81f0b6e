#!/usr/bin/env node
// The version of pnpm stands in "packageManager" (turbo needs it) and in every wrapper script (npx needs it): one and
// the same, here and in the documents.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, rootManifest } from "../workspace.mjs";

const FILES = ["package.json", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", ".ci/run"];

const { packageManager, scripts } = rootManifest();
const wrappers = Object.values(scripts).filter((script) => script.includes("pnpm@"));
const mentions = FILES.flatMap((file) =>
  [...readFileSync(join(ROOT, file), "utf8").matchAll(/pnpm@\d[\w.-]*/g)].map(([text]) => ({ file, text })),
);
const different = mentions.filter(({ text }) => text !== packageManager);
for (const { file, text } of different)
  console.error(`${file}: ${text}, but packageManager is ${packageManager}`);
if (wrappers.length < 2)
  console.error("package.json: the wrapper scripts start and test must name pnpm's version");
console.log(`${mentions.length} mentions of ${packageManager}`);
process.exitCode = different.length === 0 && wrappers.length >= 2 ? 0 : 1;
