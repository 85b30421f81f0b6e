import { accessTracking } from "./access-tracking.js";
import { mmuStress } from "./mmu-stress.js";
import { nested } from "./nested.js";
import { replay } from "./replay.js";
import type { ScenarioDescription } from "./scenario.js";

/** Every scenario, in the order in which they are listed. */
export const SCENARIO_DESCRIPTIONS: readonly ScenarioDescription[] = [
  accessTracking,
  replay,
  mmuStress,
  nested,
];
