#!/usr/bin/env node
// The command as users call it after npm test: `npx kvm-age` from the root finds the built one and prints a result.
import { execFileSync } from "node:child_process";
import { ROOT } from "../workspace.mjs";

const ARGS = ["kvm-age", "run", "access-tracking", "-v", "2", "-b", "64M", "--policy", "lockless", "--json"];

// --no: fail rather than fetch a package of that name.
const text = execFileSync("npx", ["--no", ...ARGS], {
  cwd: ROOT,
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});
const result = JSON.parse(text);
const phases = result.phases.map(({ name, seconds }) => `${name}: ${seconds.toFixed(3)} s`);
console.log([`npx ${ARGS.join(" ")}`, result.schema, ...phases].join("\n"));
process.exitCode = result.schema.startsWith("kvm-age/access-tracking@") && phases.length > 0 ? 0 : 1;
