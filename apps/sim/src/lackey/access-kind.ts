/** What an access does: a load (`L`), a store (`S`), or both in one instruction, a modify (`M`). */
export type AccessKind = 0 | 1 | 2;

export const LOAD: 0 = 0;
export const STORE: 1 = 1;
export const MODIFY: 2 = 2;
