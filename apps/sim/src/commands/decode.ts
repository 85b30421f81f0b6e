import {
  formatSpte,
  formatSpteExplanation,
  linux73,
  linux612,
  linux615,
  type MmuMode,
  parseSpte,
  toPgLevel,
} from "@kvm-age/spte";
import { type Command, Option } from "commander";
import { DECODE_MODES, type DecodedSpte, type DecodeInput, decodeSpte } from "../decoding/decode-spte.js";
import { integerOption } from "../options/integer-option.js";
import { RULE_SETS } from "../options/mmu-options.js";
import { DECODE_SCHEMA_ID, type DecodeResult } from "../results/decode-result.js";
import { jsonText } from "../terminal/json-file.js";
import { withExamples } from "./help.js";
import type { Session } from "./session.js";

interface DecodeFlags {
  readonly mode?: MmuMode;
  readonly ad: boolean;
  readonly execOnly?: boolean;
  readonly ruleSet?: (typeof RULE_SETS)[number];
  readonly level?: number;
  readonly maxphyaddr?: number;
  readonly json?: boolean;
}

const RULE_SET_VALUES = { "linux-6.12": linux612, "linux-6.15": linux615, "linux-7.3": linux73 } as const;

function decodeInput(flags: DecodeFlags): DecodeInput {
  return {
    adBits: flags.ad,
    execOnly: flags.execOnly === true,
    ...(flags.mode === undefined ? {} : { mode: flags.mode }),
    ...(flags.ruleSet === undefined ? {} : { ruleSet: RULE_SET_VALUES[flags.ruleSet] }),
    ...(flags.level === undefined ? {} : { level: toPgLevel(flags.level) }),
    ...(flags.maxphyaddr === undefined ? {} : { maxPhyAddr: flags.maxphyaddr }),
  };
}

function decodeResult(decoded: readonly DecodedSpte[]): DecodeResult {
  const sptes = decoded.map(({ spte, readings, note }) => ({
    spte: formatSpte(spte),
    note,
    readings: readings.map(({ readAs, kind, level, fields, states }) => ({
      readAs,
      kind,
      level,
      states: [...states],
      fields: fields.map((field) => ({ ...field, value: `0x${field.value.toString(16)}` })),
    })),
  }));
  return { schema: DECODE_SCHEMA_ID, sptes };
}

function decodeText(decoded: readonly DecodedSpte[]): string {
  const blocks = decoded.flatMap(({ readings, note }) => {
    const texts = readings.map(formatSpteExplanation);
    return note === null ? texts : [`${texts[0]!}\n  - ${note}`, ...texts.slice(1)];
  });
  return `${blocks.join("\n\n")}\n`;
}

function addOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--mode <mode>", "MMU mode (default: every mode in which the value makes sense)").choices(
        DECODE_MODES,
      ),
    )
    .option("--no-ad", "EPT of a CPU without Accessed and Dirty bits")
    .option("--exec-only", "EPT with execute-only entries")
    .addOption(
      new Option("--rule-set <kernel>", "kernel that wrote it (default: linux-7.3, else 6.15)").choices(
        RULE_SETS,
      ),
    )
    .addOption(new Option("--level <n>", "level of its table, 1 to 5").argParser(integerOption(1, 5)))
    .addOption(
      new Option(
        "--maxphyaddr <n>",
        "physical address bits, 32 to 52 (default: 46 for EPT, else 48)",
      ).argParser(integerOption(32, 52)),
    )
    .option("--json", "as JSON");
}

/** `kvm-age decode <spte...>`: page-table entries in words. */
export function addDecodeCommand(program: Command, session: Session): void {
  const decode = program
    .command("decode")
    .description("explain shadow page-table entries (SPTEs) in words")
    .argument("<spte...>", "up to 16 hexadecimal digits, 0x and _ allowed");
  withExamples(addOptions(decode), [
    ["kvm-age decode 0x80a0000012345f77", "in every mode in which KVM could have written it"],
    ["kvm-age decode --mode ept --no-ad --level 1 0xd0f0000012345a70", "an access-tracked EPT entry"],
    ["kvm-age decode --rule-set linux-6.15 8600000012345b77", "as Linux 6.15 wrote it"],
  ]);
  decode.action((texts: readonly string[], flags: DecodeFlags) => {
    const input = decodeInput(flags);
    const decoded = texts.map((text) => decodeSpte(parseSpte(text), input));
    session.print(flags.json === true ? jsonText(decodeResult(decoded)) : decodeText(decoded));
  });
}
