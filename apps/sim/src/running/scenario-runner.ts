export { runAccessTracking } from "./run-access-tracking.js";
export { runReplay } from "./run-replay.js";
