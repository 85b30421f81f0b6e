import {
  createSpteFormat,
  explainSpte,
  formatSpteExplanation,
  markSpteForAccessTrack,
  parseSpte,
} from "../src/index.js";

const format = createSpteFormat({ mode: "ept", adBits: false });
const young = parseSpte("0x90a0_0000_1234_5f77");
const aged = markSpteForAccessTrack(format, young);

export const text: string = formatSpteExplanation(explainSpte(format, aged, 1));
