/** 4 KiB frames that a leaf at a level maps. */
export const PAGES_PER_LEAF: { readonly 1: number; readonly 2: number; readonly 3: number } = {
  1: 1,
  2: 512,
  3: 262144,
};
