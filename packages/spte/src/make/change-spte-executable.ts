import { modifySpteProtections } from "../access-track/modify-spte-protections.js";
import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Gives a shadow-present leaf exactly the execute permissions contained in `access`, also when it is
 * access-tracked (`change_spte_executable`; 6.15 `make_spte_executable` and `make_spte_nonexecutable`).
 * @param access access bits of the rule set; only the ones meaning execution in this format count
 */
export function changeSpteExecutable(format: SpteFormat, spte: Spte, access: number): Spte {
  const { accExecMask, accUserMask } = format.rules;
  const executable = (access & accExecMask) !== 0;
  const allowed = executable ? format.shadowXsMask : format.shadowNxMask;
  const refused = executable ? format.shadowNxMask : format.shadowXsMask;
  const userExecutable = (access & accUserMask) !== 0;
  const set = allowed | (userExecutable ? format.shadowXuMask : 0n);
  const clear = refused | (userExecutable ? 0n : format.shadowXuMask);
  return modifySpteProtections(format, spte, set, clear);
}
