import { createSpteFormat, linux73, linux612, linux615, type SpteFormat } from "../src/index.js";

/** The three columns of the reference tables, under one rule set. */
interface TableFormats {
  readonly eptAd: SpteFormat;
  readonly eptNoAd: SpteFormat;
  readonly npt: SpteFormat;
}

/** 6.15, hardware as in the reference tables. */
export const v615: TableFormats = {
  eptAd: createSpteFormat({ mode: "ept", ruleSet: linux615 }),
  eptNoAd: createSpteFormat({ mode: "ept", adBits: false, ruleSet: linux615 }),
  npt: createSpteFormat({ mode: "npt", ruleSet: linux615 }),
};

/** 7.3, hardware as in the reference tables. */
export const v73: TableFormats = {
  eptAd: createSpteFormat({ mode: "ept", ruleSet: linux73 }),
  eptNoAd: createSpteFormat({ mode: "ept", adBits: false, ruleSet: linux73 }),
  npt: createSpteFormat({ mode: "npt", ruleSet: linux73 }),
};

/** Every format the property tests draw from. */
export const allFormats: readonly SpteFormat[] = [linux612, linux615, linux73].flatMap((ruleSet) => [
  createSpteFormat({ mode: "ept", ruleSet }),
  createSpteFormat({ mode: "ept", ruleSet, execOnly: true }),
  createSpteFormat({ mode: "ept", adBits: false, ruleSet }),
  createSpteFormat({ mode: "ept", adBits: false, ruleSet, l1tf: true }),
  createSpteFormat({ mode: "npt", ruleSet }),
  createSpteFormat({ mode: "npt", ruleSet, maxPhyAddr: 48, physBits: 43, encryptionBit: 47 }),
  createSpteFormat({ mode: "shadow", ruleSet, maxPhyAddr: 46, l1tf: true }),
  createSpteFormat({ mode: "pae", ruleSet, maxPhyAddr: 40 }),
]);
