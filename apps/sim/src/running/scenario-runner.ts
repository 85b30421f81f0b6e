export { runAccessTracking } from "./run-access-tracking.js";
export { runMmuStress } from "./run-mmu-stress.js";
export { runNested } from "./run-nested.js";
export { runReplay } from "./run-replay.js";
