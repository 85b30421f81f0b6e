// A slot's node in one set: links of the three indexes. Offsets inside the node.

/** u32: next slot in the same bucket of the id hash. */
export const NODE_ID_NEXT = 0;
/** u32: left child in the gfn tree. */
export const NODE_GFN_LEFT = 8;
/** u32: right child in the gfn tree. */
export const NODE_GFN_RIGHT = 12;
/** u32: left child in the hva tree. */
export const NODE_HVA_LEFT = 16;
/** u32: right child in the hva tree. */
export const NODE_HVA_RIGHT = 20;
/** Two u32, split word: highest end (first hva behind) of all slots in this subtree of the hva tree. */
export const NODE_HVA_SUBTREE_END = 24;
