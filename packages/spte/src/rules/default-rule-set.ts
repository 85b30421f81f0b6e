import { linux73 } from "./linux-7.3.js";
import type { RuleSet } from "./rule-set.js";

/** The rule set used where none is named: today's kernel. */
export const defaultRuleSet: RuleSet = linux73;
