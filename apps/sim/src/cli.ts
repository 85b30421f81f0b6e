#!/usr/bin/env node
import { runProgram } from "./commands/program.js";
import { createSession } from "./commands/session.js";
import { tolerateBrokenPipe } from "./terminal/tolerate-broken-pipe.js";

tolerateBrokenPipe(process.stdout, process.stderr);
const session = createSession();
await runProgram(session, process.argv.slice(2));
process.exitCode = session.exitCode;
