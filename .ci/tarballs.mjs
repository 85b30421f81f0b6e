// Packs the published packages once per run of .ci/run, as `pnpm publish` would, for the checks that look at tarballs.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publishedPackages, rootManifest } from "./workspace.mjs";

/** Folder for what a run makes: that of .ci/run, handed on as argument, or one that goes with this process. */
export const SCRATCH = process.argv[2] ?? ownScratch();

function ownScratch() {
  const directory = mkdtempSync(join(tmpdir(), "kvm-age-check-"));
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Tarballs with the packages they hold; packed from `dist` as it stands. */
export function packedTarballs() {
  const directory = join(SCRATCH, "tarballs");
  mkdirSync(directory, { recursive: true });
  return publishedPackages().map((member) => {
    const file = `${member.name.replace("@", "").replace("/", "-")}-${member.manifest.version}.tgz`;
    if (!readdirSync(directory).includes(file)) pack(member.directory, directory);
    return { ...member, tarball: join(directory, file) };
  });
}

function pack(packageDirectory, destination) {
  const command = ["--yes", rootManifest().packageManager, "pack", "--pack-destination", destination];
  execFileSync("npx", command, { cwd: packageDirectory, stdio: ["ignore", "ignore", "inherit"] });
}
