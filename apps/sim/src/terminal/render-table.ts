import Table from "cli-table3";
import { paint, type Style } from "./style.js";

/** A table as data; the first column is text, the others are numbers or `text`. */
export interface TableData {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Indices of columns that are aligned left; the others are aligned right. */
  readonly leftColumns?: readonly number[];
}

const NO_LINES = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

/** Draws a table: with lines on a terminal, otherwise as columns of plain text. No newline at the end. */
export function renderTable(data: TableData, style: Style): string {
  const left = data.leftColumns ?? [0];
  const table = new Table({
    head: data.head.map((text) => paint(style, "bold", text)),
    colAligns: data.head.map((_, column) => (left.includes(column) ? "left" : "right")),
    style: {
      head: [],
      border: [],
      compact: true,
      ...(style.borders ? {} : { "padding-left": 0, "padding-right": 0 }),
    },
    ...(style.borders ? {} : { chars: NO_LINES }),
  });
  table.push(...data.rows.map((row) => [...row]));
  const lines = table.toString().split("\n");
  return lines.map((line) => line.trimEnd()).join("\n");
}
