import { type Cpu, offset } from "@kvm-age/machine";
import { SlotNotInSetError } from "../errors.js";
import { NULL_SLOT, type Slot, slotId } from "../slot/slot.js";
import { GFN_TREE } from "./gfn-tree.js";
import { HVA_TREE } from "./hva-tree.js";
import { idHashAdd, idHashDel } from "./id-hash.js";
import { SET_GFN_ROOT, SET_HVA_ROOT, SET_LAST_USED_SLOT, type SlotSet, setNodeIdx } from "./slot-set.js";
import { TreeEdit, type TreeKind } from "./slot-tree.js";

function replaceInTree(
  cpu: Cpu,
  set: SlotSet,
  rootWord: number,
  kind: TreeKind,
  old: Slot,
  fresh: Slot,
): void {
  const edit = new TreeEdit(cpu, kind, setNodeIdx(cpu, set));
  let root = cpu.readOnce32(offset(set, rootWord)) as Slot;
  if (old !== NULL_SLOT) {
    const rest = edit.erase(root, old);
    if (rest === null) throw new SlotNotInSetError(kind.name, slotId(cpu, old));
    root = rest;
  }
  if (fresh !== NULL_SLOT) root = edit.insert(root, fresh);
  cpu.writeOnce32(offset(set, rootWord), root);
}

/**
 * Replaces `old` by `fresh` in the three indexes of an inactive set (kernel `kvm_replace_memslot`); either
 * may be `NULL_SLOT`. No reader uses the set: the previous swap waited for those who did. A lookup cache that
 * points at `old` is redirected.
 *
 * @throws SlotNotInSetError if `old` is not in the set.
 */
export function kvmReplaceMemslot(cpu: Cpu, set: SlotSet, old: Slot, fresh: Slot): void {
  if (old !== NULL_SLOT) {
    idHashDel(cpu, set, old);
    const cache = offset(set, SET_LAST_USED_SLOT);
    if (cpu.readOnce32(cache) === old) cpu.writeOnce32(cache, fresh);
  }
  if (fresh !== NULL_SLOT) idHashAdd(cpu, set, fresh);
  replaceInTree(cpu, set, SET_GFN_ROOT, GFN_TREE, old, fresh);
  replaceInTree(cpu, set, SET_HVA_ROOT, HVA_TREE, old, fresh);
}
