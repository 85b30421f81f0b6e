// The packages of this workspace and their source files, for the checks.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Absolute path of the repository. */
export const ROOT = resolve(import.meta.dirname, "..");

/** The repository's own package.json. */
export function rootManifest() {
  return JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
}

/** Every package under packages/ and apps/, with its manifest. */
export function workspacePackages() {
  return ["packages", "apps"].flatMap((parent) =>
    readdirSync(join(ROOT, parent)).map((name) => {
      const directory = join(ROOT, parent, name);
      const manifest = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
      return { directory, parent, manifest, name: manifest.name };
    }),
  );
}

/** The packages that go to the registry. */
export function publishedPackages() {
  return workspacePackages().filter(({ manifest }) => manifest.private !== true);
}

/** Files below `directory` that have one of the endings, sorted; nothing if it does not exist. */
export function filesBelow(directory, endings) {
  let entries;
  try {
    entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
  return entries
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

const IMPORT = /^\s*(import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
const DYNAMIC_IMPORT = /\bimport\(\s*"([^"]+)"/g;

/** Modules that a file imports or re-exports, as written; `typeOnly` if nothing of it is left at run time. */
export function importsOf(file) {
  const text = readFileSync(file, "utf8");
  const fixed = [...text.matchAll(IMPORT)]
    .filter(([, keyword, , specifier]) => keyword === "import" || specifier !== undefined)
    .map(([, , typeOnly, specifier]) => ({ specifier, typeOnly: typeOnly !== undefined }));
  const dynamic = [...text.matchAll(DYNAMIC_IMPORT)].map(([, specifier]) => ({ specifier, typeOnly: false }));
  return [...fixed, ...dynamic];
}
