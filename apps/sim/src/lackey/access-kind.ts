/** What an access does: a load (`L`), a store (`S`), or both in one instruction, a modify (`M`). */
export type AccessKind = 0 | 1 | 2;

export const LOAD: AccessKind = 0;
export const STORE: AccessKind = 1;
export const MODIFY: AccessKind = 2;
