#!/usr/bin/env node
// Replays every kernel trace of the fixtures with `kvm-age trace conform` and compares the tables of docs/conformance.md
// with what it finds. With --write (`npm run conformance`), the document is given the new tables instead.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../workspace.mjs";

const DOCUMENT = join(ROOT, "docs", "conformance.md");
const TRACES = join(ROOT, "apps", "sim", "test", "fixtures", "kernel-traces");
const MARKED = /(<!-- tables: npm run conformance -->\n)[\s\S]*(<!-- end of tables -->)/;
const KINDS = ["event", "answer", "entry", "bitmap", "idle"];
const COLUMNS = ["events", "answers", "entries", "dirty words", "idle answers"];
const MAX_BUFFER = 1 << 28;

const modes = readdirSync(TRACES).sort();

/** What the command finds in the traces of a mode: exit code 1 is a finding like any other. */
function conform(mode) {
  const files = readdirSync(join(TRACES, mode)).filter((name) => name.endsWith(".gz"));
  const cli = join(ROOT, "apps", "sim", "dist", "cli.js");
  const args = [cli, "trace", "conform", ...files.sort().map((name) => join(TRACES, mode, name)), "--json"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    maxBuffer: MAX_BUFFER,
  });
  if (status !== 0) process.stderr.write(stderr);
  if (status !== 0 && status !== 1) throw new Error(`${mode}: kvm-age trace conform exits with ${status}`);
  return JSON.parse(stdout).files.map((file, index) => ({
    ...file,
    name: files[index].replace(".trace.gz", ""),
  }));
}

const number = (value) => value.toLocaleString("en-US");
const sum = (values) => values.reduce((total, value) => total + value, 0);
const row = (cells) => `| ${cells.join(" | ")} |`;

function table(head, rows) {
  return [row(head), row(head.map((_, column) => (column === 0 ? "---" : "--:"))), ...rows.map(row)].join(
    "\n",
  );
}

/** The document as `biome` formats it, which lines the columns of tables up. */
function formatted(text) {
  const biome = join(ROOT, "node_modules", ".bin", "biome");
  const args = ["format", "--stdin-file-path=docs/conformance.md"];
  const { status, stdout, stderr } = spawnSync(biome, args, { cwd: ROOT, input: text, encoding: "utf8" });
  if (status !== 0) throw new Error(`biome format exits with ${status}: ${stderr}`);
  return stdout;
}

/** Compared, or matched/compared where they differ. */
function cell({ compared, matched }) {
  if (compared === 0) return "";
  return compared === matched ? number(compared) : `**${number(matched)}/${number(compared)}**`;
}

function total(files, kind) {
  return {
    compared: sum(files.map(({ counts }) => counts[kind].compared)),
    matched: sum(files.map(({ counts }) => counts[kind].matched)),
  };
}

function modeRow(mode, files) {
  const totals = KINDS.map((kind) => total(files, kind));
  const matched = sum(totals.map((one) => one.matched));
  const compared = sum(totals.map((one) => one.compared));
  const mismatches = sum(files.map(({ mismatchCount }) => mismatchCount));
  return [
    mode,
    number(files.length),
    ...totals.map(cell),
    number(compared),
    number(matched),
    number(mismatches),
  ];
}

function fileRow({ name, counts, inferences, mismatchCount }) {
  const { vms, slots, silentAccesses, unseenUnmaps, unpromptedOperations } = inferences;
  const inferred = [vms, slots, silentAccesses, unpromptedOperations + unseenUnmaps].map(number);
  return [name, ...KINDS.map((kind) => cell(counts[kind])), number(mismatchCount), ...inferred];
}

function tables() {
  const found = modes.map((mode) => [mode, conform(mode)]);
  const overview = table(
    ["mode", "traces", ...COLUMNS, "compared", "matched", "mismatches"],
    [
      ...found.map(([mode, files]) => modeRow(mode, files)),
      modeRow(
        "all",
        found.flatMap(([, files]) => files),
      ),
    ],
  );
  const head = [
    "scenario",
    ...COLUMNS,
    "mismatches",
    "VMs",
    "slots inferred",
    "silent accesses",
    "causes inferred",
  ];
  const details = found.map(([mode, files]) => `### ${mode}\n\n${table(head, files.map(fileRow))}`);
  return [overview, ...details].join("\n\n");
}

const text = readFileSync(DOCUMENT, "utf8");
if (!MARKED.test(text))
  throw new Error("docs/conformance.md has lost the comments that its tables stand between");
const updated = formatted(text.replace(MARKED, (_, begin, end) => `${begin}\n${tables()}\n\n${end}`));
if (process.argv.includes("--write")) writeFileSync(DOCUMENT, updated);
else if (updated !== text) {
  console.error("docs/conformance.md: its tables are not what the traces give now; see npm run conformance");
  process.exitCode = 1;
} else console.log(`${modes.length} modes, ${text.split("\n").length} lines as committed`);
