import { styleText } from "node:util";

/** How text on standard output may look. */
export interface Style {
  readonly colour: boolean;
  /** Whether tables have lines around their cells. */
  readonly borders: boolean;
}

/** No colour, no lines: for files, pipes and tests. */
export const plainStyle: Style = Object.freeze({ colour: false, borders: false });

/** The style for a stream: plain unless it is a terminal; without colour when `NO_COLOR` is set and not empty. */
export function styleFor(stream: { readonly isTTY?: boolean }, environment: NodeJS.ProcessEnv): Style {
  if (stream.isTTY !== true) return plainStyle;
  return { colour: (environment.NO_COLOR ?? "") === "", borders: true };
}

/** Colours a text where the style allows it. */
export function paint(style: Style, format: "bold" | "green" | "red" | "yellow", text: string): string {
  return style.colour ? styleText(format, text, { validateStream: false }) : text;
}
