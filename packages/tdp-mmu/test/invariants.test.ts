import { type Address, offset } from "@kvm-age/machine";
import { linux73, linux615, type RuleSet } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { checkTdpMmuInvariants, KVM_VALID_ROOTS, kvmTdpMmuInvalidateRoots } from "../src/index.js";
import {
  gfnWord,
  ptepWord,
  roleWord,
  rootCountWord,
  rootLinkWord,
  sptWord,
} from "../src/page/kvm-mmu-page.js";
import { Guest } from "./kit/guest.js";
import { rootOf, sptepAt, tableOf, underWriteLock } from "./kit/operations.js";
import { FORMATS, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const NOT_PRESENT = 0x8000000000000000n;

function check(guest: Guest): string[] {
  return checkTdpMmuInvariants(guest.mmu, guest.cpu);
}

/** Pages 3 and 4 mapped small, 700 huge. */
function healthy(reference: ReferenceFormat): Guest {
  const guest = new Guest({ ...reference.init, options: { eagerPageSplit: false } });
  guest.fault(3, true);
  guest.fault(4, true);
  guest.host.level = 2;
  guest.fault(700, true);
  return guest;
}

function write(guest: Guest, page: number, level: number, spte: bigint): void {
  guest.cpu.writeOnce(sptepAt(guest, page, level), spte);
}

function childOf(guest: Guest, page: number): Address {
  return guest.mmu.frames.readPrivate(guest.cpu, tableOf(sptepAt(guest, page, 1)));
}

/** A corruption, and the one sentence that names it. */
interface Seed {
  readonly what: string;
  readonly corrupt: (guest: Guest, reference: ReferenceFormat) => void;
  readonly sentence: RegExp;
  /** Formats in which the corruption is one. @default every format */
  readonly only?: (reference: ReferenceFormat) => boolean;
}

const isEpt = ({ init }: ReferenceFormat): boolean => init.mode === "ept";
const isTracked = ({ adBits }: ReferenceFormat): boolean => !adBits;

const SEEDS: readonly Seed[] = [
  {
    what: "W without MMU-writable",
    corrupt: (guest) => write(guest, 3, 1, guest.spte(3) & ~guest.format.shadowMmuWritableMask),
    sentence: /^gfn 0x40003 level 1 .*: W, MMU-writable, Host-writable$/,
  },
  {
    what: "MMU-writable without Host-writable",
    corrupt: (guest) => write(guest, 3, 1, guest.spte(3) & ~guest.format.shadowHostWritableMask),
    sentence: /W, MMU-writable, Host-writable$/,
  },
  {
    what: "an A/D type that is not the table's",
    corrupt: (guest) => write(guest, 3, 1, guest.spte(3) ^ guest.format.rules.spteTdpAdDisabled),
    sentence: /A\/D type is not the table's$/,
    only: isEpt,
  },
  {
    what: "a huge page whose frame is not aligned",
    corrupt: (guest) => write(guest, 700, 2, guest.spte(700) + 0x1000n),
    sentence: /^gfn 0x40200 level 2 .*: pfn not aligned$/,
  },
  {
    what: "no permission in an entry that is not access-tracked",
    corrupt: (guest) => {
      const writable = 7n | guest.format.shadowMmuWritableMask | guest.format.shadowHostWritableMask;
      write(guest, 3, 1, guest.spte(3) & ~writable);
    },
    sentence: /no permission at all, yet not access-tracked$/,
    only: (reference) => isEpt(reference) && reference.adBits,
  },
  {
    what: "A in an access-tracked entry",
    corrupt: (guest, reference) => write(guest, 3, 1, ofPage(reference.aged | reference.accessedBit, 3)),
    sentence: /access-tracked, yet accessed$/,
    only: isTracked,
  },
  {
    what: "saved permissions beside real ones",
    corrupt: (guest, reference) => write(guest, 3, 1, ofPage(reference.aged | 1n, 3)),
    sentence: /saved permissions, yet not access-tracked$/,
    only: isTracked,
  },
  {
    what: "a mapping outside every slot",
    corrupt: (guest) => {
      write(guest, 3, 1, NOT_PRESENT);
      guest.faultWithCode(-1, 0);
      write(guest, -1, 1, guest.spte(4));
    },
    sentence: /^gfn 0x3ffff level 1 .*: mapped outside every slot$/,
  },
  {
    what: "a writable huge page in a dirty-logged slot",
    corrupt: (guest, reference) => {
      guest.setSlot(1);
      write(guest, 700, 2, ofPage(reference.huge, 512));
    },
    sentence: /writable huge page in a dirty-logged slot$/,
  },
  {
    what: "a child whose descriptor names another table",
    corrupt: (guest) => {
      const child = childOf(guest, 3) as never;
      // A frame with nothing in it, so that only the link is wrong.
      guest.cpu.writeOnce32(sptWord(child), guest.machine.frames.allocateFrame(guest.cpu, NOT_PRESENT));
    },
    sentence: /^gfn 0x40000 level 2 .*: child's table is 0x[0-9a-f]+$/,
  },
  {
    what: "a child whose ptep is another entry",
    corrupt: (guest) => {
      const child = childOf(guest, 3) as never;
      guest.cpu.writeOnce32(ptepWord(child), guest.cpu.readOnce32(ptepWord(child)) + 8);
    },
    sentence: /^gfn 0x40000 level 2 .*: child's ptep is another entry$/,
  },
  {
    what: "a child with the wrong gfn",
    corrupt: (guest) => guest.cpu.writeOnce(gfnWord(childOf(guest, 3) as never), 0x40000n + 512n),
    sentence: /child's gfn is 0x40200$/,
  },
  {
    what: "a child with the wrong role",
    corrupt: (guest) => {
      const child = childOf(guest, 3) as never;
      guest.cpu.writeOnce32(roleWord(child), guest.cpu.readOnce32(roleWord(child)) ^ 0x20000);
    },
    sentence: /child's role is 0x[0-9a-f]+, expected 0x[0-9a-f]+$/,
  },
  {
    what: "a frozen entry in a linked table",
    corrupt: (guest, reference) => write(guest, 5, 1, reference.frozen),
    sentence: /^gfn 0x40005 level 1 .*: frozen in a linked table$/,
  },
  {
    what: "an unknown value that is not present",
    corrupt: (guest) => write(guest, 5, 1, 0x80000000000004a0n),
    sentence: /unknown non-present value$/,
  },
  {
    what: "a value that could raise #VE",
    corrupt: (guest) => write(guest, 5, 1, 0n),
    sentence: /could raise #VE$/,
    only: isEpt,
  },
  {
    what: "a valid root without a reference",
    corrupt: (guest) => guest.cpu.writeOnce32(rootCountWord(rootOf(guest)), 0),
    sentence: /^root 0x[0-9a-f]+: valid without a reference$/,
  },
  {
    what: "a table that is not counted",
    corrupt: (guest) => void guest.cpu.fetchAdd32(guest.mmu.pagesWord, -1, "relaxed"),
    sentence: /^tdp_mmu_pages is 2, 3 tables are linked$/,
  },
  {
    what: "a table on the list of NX huge pages that is not for the mitigation",
    corrupt: (guest) => guest.cpu.writeOnce32(guest.mmu.possibleNxHugePagesWord, childOf(guest, 3)),
    sentence: /^table 0x[0-9a-f]+: on possible_nx_huge_pages, yet not for the mitigation$/,
  },
  {
    what: "a list of NX huge pages that is not as long as counted",
    corrupt: (guest) => guest.cpu.writeOnce32(guest.mmu.possibleNxCountWord, 2),
    sentence: /^possible_nx_huge_pages: 2 tables counted, 0 found$/,
  },
  {
    what: "a leaf that is not counted",
    corrupt: (guest) => void guest.cpu.fetchAdd32(guest.mmu.statistics.pageWord(2), -1, "relaxed"),
    sentence: /^level 2: 0 leaves counted, 1 found$/,
  },
];

describe.each(FORMATS)("the checker, $name", (reference) => {
  it("finds nothing wrong with a healthy MMU", () => {
    expect(check(healthy(reference))).toEqual([]);
  });

  const seeds = SEEDS.filter(({ only }) => only?.(reference) ?? true);
  it.each(seeds)("finds $what", ({ corrupt, sentence }) => {
    const guest = healthy(reference);
    corrupt(guest, reference);
    expect(check(guest)).toEqual(expect.arrayContaining([expect.stringMatching(sentence)]));
  });
});

describe.each([
  ["7.3", linux73],
  ["6.15", linux615],
])("roots, %s", (_name, ruleSet: RuleSet) => {
  it("two valid ones of one role are found", () => {
    const guest = new Guest({ ruleSet });
    const first = rootOf(guest);
    const second = guest.mmu.headers.allocate(guest.cpu) as never;
    for (let word = 0; word < 64; word += 8) {
      guest.cpu.writeOnce(offset(second, word), guest.cpu.readOnce(offset(first, word)));
    }
    guest.cpu.writeOnce32(rootLinkWord(first), second);
    expect(check(guest)).toEqual([expect.stringMatching(/second valid root of role/)]);
  });

  it("an invalid one may still map anything, at any role of its children", () => {
    const guest = new Guest({ ruleSet });
    guest.fault(3, true);
    underWriteLock(guest, guest.cpu, () => kvmTdpMmuInvalidateRoots(guest.mmu, guest.cpu, KVM_VALID_ROOTS));
    expect(check(guest)).toEqual([]);
  });
});
