import { type MakeSpteInput, SHADOW_NONPRESENT_VALUE, type SpteFormat, toGfn, toPfn } from "../src/index.js";

/** A demand fault on a writable 4 KiB page, pfn 0x12345, with changes. */
export function makeSpteInput(format: SpteFormat, changes: Partial<MakeSpteInput> = {}): MakeSpteInput {
  return {
    level: 1,
    adDisabled: !format.kvmAdEnabled,
    guestMode: false,
    cpuDirtyLog: false,
    pteAccess: format.rules.accAll,
    gfn: toGfn(0x777),
    pfn: toPfn(0x12345),
    oldSpte: SHADOW_NONPRESENT_VALUE,
    prefetch: false,
    synchronizing: false,
    hostWritable: true,
    slotDirtyLogging: false,
    nxHugePageMitigation: false,
    isMmioPfn: false,
    memoryType: 0x70n,
    tryToUnsyncPages: null,
    ...changes,
  };
}
