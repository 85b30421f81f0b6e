import { readFileSync } from "node:fs";
import { type CNames, type CValue, evaluateList } from "./c-expression.js";

/** A field that an event stores. */
export interface FormatField {
  readonly type: string;
  readonly name: string;
  readonly size: number;
  readonly signed: boolean;
}

/** A tracefs `format` file. */
export interface FormatFile {
  readonly name: string;
  /** Without those that every event has. */
  readonly fields: readonly FormatField[];
  /** What stands behind `print fmt:`. */
  readonly print: string;
}

const FIELD = /^\tfield:(.+?)([A-Za-z_]\w*);\toffset:\d+;\tsize:(\d+);\tsigned:([01]);$/gm;

export function readFormatFile(url: URL): FormatFile {
  const text = readFileSync(url, "utf8");
  const fields = [...text.matchAll(FIELD)].map(([, type, name, size, signed]) => ({
    type: type!.trim(),
    name: name!,
    size: Number(size),
    signed: signed === "1",
  }));
  return {
    name: /^name: (\w+)$/m.exec(text)![1]!,
    fields: fields.filter(({ name }) => !name.startsWith("common_")),
    print: /^print fmt: (.+)$/m.exec(text)![1]!,
  };
}

/** C's `printf`, as far as kernel formats use it. */
export function printf(format: string, values: readonly CValue[]): string {
  const rest = [...values];
  const text = format.replace(
    /%(#?)(0?)(\d*)(?:ll|l)?([a-z])/g,
    (directive, alternate, zero, width, kind) => {
      const value = rest.shift();
      if (value === undefined) throw new RangeError(`nothing for ${directive} of ${format}`);
      if (kind === "s") return String(value);
      if (kind === "c") return String.fromCharCode(Number(value));
      if (kind === "p") return value.toString(16).padStart(16, "0");
      const prefix = alternate === "#" ? "0x" : "";
      const digits = kind === "x" ? value.toString(16) : value.toString();
      return prefix + digits.padStart(Number(width || 0) - prefix.length, zero === "0" ? "0" : " ");
    },
  );
  if (rest.length > 0) throw new RangeError(`${rest.length} values too many for ${format}`);
  return text;
}

/** Splits `"format", arguments`. */
function formatAndArguments(text: string): [format: string, list: string] {
  const format = /^((?:"[^"]*"\s*)+),\s*/.exec(text);
  if (format === null) throw new SyntaxError(`no format in ${text}`);
  return [
    [...format[1]!.matchAll(/"([^"]*)"/g)].map(([, part]) => part).join(""),
    text.slice(format[0].length),
  ];
}

const STATEMENTS = /\(\{ .*?access_str\[\] = \{ (.*?) \};.*?trace_seq_printf\(p, (.*?)\); saved_ptr; \}\)/;

/** The text of a page of page tables, which its events print by statements instead of an expression. */
function renderStatements(statements: RegExpExecArray, names: CNames): string {
  const access_str = [...statements[1]!.matchAll(/"([^"]*)"/g)].map(([, letters]) => letters!);
  const [format, list] = formatAndArguments(statements[2]!);
  // Its last directive prints the NUL that ends the text.
  return printf(format, evaluateList(list, names, { access_str })).replace(/\0$/, "");
}

/** What the kernel prints for an event with these fields. `names.role` is the role of a page in its parts. */
export function renderFormat({ print }: FormatFile, names: CNames): string {
  const statements = STATEMENTS.exec(print);
  if (statements === null) {
    const [format, list] = formatAndArguments(print);
    return printf(format, evaluateList(list, names));
  }
  const page = renderStatements(statements, names);
  const [format, list] = formatAndArguments(print.replace(statements[0], JSON.stringify(page)));
  return printf(format, evaluateList(list, names));
}
