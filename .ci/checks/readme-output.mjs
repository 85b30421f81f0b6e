#!/usr/bin/env node
// Runs every command of README.md whose block is marked "console exact" and compares what it prints with what the README
// says it prints. With --write, the README is given the new output instead.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../workspace.mjs";

const README = join(ROOT, "README.md");
const BLOCK = /^```console exact\n\$ (.*)\n([\s\S]*?)^```$/gm;

function output(command) {
  const [program, ...args] = command.split(" ");
  return execFileSync(program, args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

const text = readFileSync(README, "utf8");
let blocks = 0;
let different = 0;
const updated = text.replace(BLOCK, (block, command, expected) => {
  blocks++;
  const actual = output(command);
  if (actual === expected) return block;
  different++;
  console.error(`README.md: ${command}\nprints\n${actual}but is said to print\n${expected}`);
  return `\`\`\`console exact\n$ ${command}\n${actual}\`\`\``;
});
console.log(`${blocks} commands, ${different} with other output`);
if (process.argv.includes("--write")) writeFileSync(README, updated);
else process.exitCode = blocks > 0 && different === 0 ? 0 : 1;
