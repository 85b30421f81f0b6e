#!/usr/bin/env node
// publint over every packed tarball: entry points, types, files and formats as a consumer's tools will see them.
import { readFileSync } from "node:fs";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { packedTarballs } from "../tarballs.mjs";

let problems = 0;
for (const { name, tarball } of packedTarballs()) {
  const { messages, pkg } = await publint({
    pack: { tarball: new Uint8Array(readFileSync(tarball)).buffer },
    strict: true,
  });
  for (const message of messages) console.error(`${name}: ${formatMessage(message, pkg)}`);
  problems += messages.length;
  console.log(`${name}: ${messages.length === 0 ? "good" : `${messages.length} messages`}`);
}
process.exitCode = problems === 0 ? 0 : 1;
