import { describe, expect, it } from "vitest";
import {
  descMore,
  descSpteWord,
  moreWord,
  type PteListDesc,
  spteCountWord,
  tailCountWord,
} from "../src/descriptor/pte-list-desc.js";
import { rmapDescriptor } from "../src/head/kvm-rmap-head.js";
import { checkRmapHead, KVM_RMAP_LOCKED, KVM_RMAP_MANY, kvmRmapGet } from "../src/index.js";
import { addMany } from "./support/operations.js";
import { RmapVm } from "./support/vm.js";

/** A list of 30 in three descriptors, which the checker finds nothing wrong with. */
class HealthyList {
  readonly vm: RmapVm = new RmapVm();
  readonly first: PteListDesc;
  readonly second: PteListDesc;
  readonly third: PteListDesc;

  constructor() {
    const { cpu } = this.vm;
    addMany(this.vm, this.vm.head(), 30);
    this.first = rmapDescriptor(kvmRmapGet(cpu, this.vm.head()));
    this.second = descMore(cpu, this.first);
    this.third = descMore(cpu, this.second);
  }

  check(): string[] {
    return checkRmapHead(this.vm.cpu, this.vm.head());
  }

  writeHead(value: bigint): void {
    this.vm.cpu.writeOnce(this.vm.head(), value);
  }

  write32(word: PteListDesc, value: number): void {
    this.vm.cpu.writeOnce32(word, value);
  }
}

/** A corruption, and the sentences that name it, without where. */
interface Seed {
  readonly what: string;
  readonly corrupt: (list: HealthyList) => void;
  readonly sentences: readonly RegExp[];
}

const as = (word: number): PteListDesc => word as PteListDesc;

const SEEDS: readonly Seed[] = [
  {
    what: "a locked empty head",
    corrupt: (list) => list.writeHead(KVM_RMAP_LOCKED),
    sentences: [/^rmap head 0x\w+ \(0x2\): KVM_RMAP_LOCKED without an address$/],
  },
  {
    what: "a chain without a descriptor",
    corrupt: (list) => list.writeHead(KVM_RMAP_MANY),
    sentences: [/\(0x1\): KVM_RMAP_MANY without an address$/],
  },
  {
    what: "both tags alone",
    corrupt: (list) => list.writeHead(3n),
    sentences: [/\(0x3\): KVM_RMAP_MANY and KVM_RMAP_LOCKED without an address$/],
  },
  {
    what: "an address beyond the arena's",
    corrupt: (list) => list.writeHead(0x1_0000_0000n),
    sentences: [/\(0x100000000\): no address of the arena$/],
  },
  {
    what: "a single slot off its word",
    corrupt: (list) => list.writeHead(0x7004n),
    sentences: [/: slot 0x7004 is not a multiple of 8$/],
  },
  {
    what: "a descriptor off its words",
    corrupt: (list) => list.writeHead(0x7005n),
    sentences: [/: descriptor 0x7004 is not a multiple of 8$/],
  },
  {
    what: "an empty first descriptor",
    corrupt: (list) => {
      list.write32(as(spteCountWord(list.first)), 0);
      list.write32(as(descSpteWord(list.first, 0)), 0);
      list.write32(as(descSpteWord(list.first, 1)), 0);
    },
    sentences: [/: 0 slots in use, allowed: 1 to 14$/],
  },
  {
    what: "a tail that is not full",
    corrupt: (list) => {
      list.write32(as(spteCountWord(list.second)), 13);
      list.write32(as(descSpteWord(list.second, 13)), 0);
    },
    sentences: [/: 13 slots in use, allowed: 14 to 14$/, /: tail_count is 28, 27 slots lie behind it$/],
  },
  {
    what: "more slots than there is room for",
    corrupt: (list) => list.write32(as(spteCountWord(list.third)), 15),
    sentences: [
      /: 15 slots in use, allowed: 14 to 14$/,
      /: tail_count is 14, 15 slots lie behind it$/,
      /: tail_count is 28, 29 slots lie behind it$/,
    ],
  },
  {
    what: "a null among the used",
    corrupt: (list) => list.write32(as(descSpteWord(list.second, 5)), 0),
    sentences: [/: slot 5 of 14 is null$/],
  },
  {
    what: "a slot behind the used",
    corrupt: (list) => list.write32(as(descSpteWord(list.first, 2)), 0x7000),
    sentences: [/: slot 2 beyond 2 is 0x7000$/],
  },
  {
    what: "a slot off its word in a chain",
    corrupt: (list) => list.write32(as(descSpteWord(list.third, 0)), 0x7004),
    sentences: [/: slot 0x7004 is not a multiple of 8$/],
  },
  {
    what: "a slot that is there twice",
    corrupt: (list) => list.write32(as(descSpteWord(list.first, 0)), list.vm.sptep(3)),
    sentences: [/: slot 0x\w+ is in the list twice$/],
  },
  {
    what: "a wrong tail_count",
    corrupt: (list) => list.write32(as(tailCountWord(list.first)), 27),
    sentences: [/, descriptor 0x\w+: tail_count is 27, 28 slots lie behind it$/],
  },
  {
    what: "a chain without an end",
    corrupt: (list) => list.write32(as(moreWord(list.third)), list.second),
    sentences: [/: the chain leads back to descriptor 0x\w+$/],
  },
];

describe("checkRmapHead", () => {
  it.each([0, 1, 2, 14, 15, 28, 29])("finds nothing wrong with a list of %i, locked or not", (count) => {
    const vm = new RmapVm();
    addMany(vm, vm.head(), count);
    expect(checkRmapHead(vm.cpu, vm.head())).toEqual([]);
    if (count === 0) return;
    vm.cpu.fetchOr(vm.head(), KVM_RMAP_LOCKED, "full");
    expect(checkRmapHead(vm.cpu, vm.head())).toEqual([]);
  });

  it.each(SEEDS)("names $what", ({ corrupt, sentences }) => {
    const list = new HealthyList();
    expect(list.check()).toEqual([]);
    corrupt(list);
    const found = list.check();
    expect(found).toHaveLength(sentences.length);
    for (const [index, sentence] of sentences.entries()) expect(found[index]).toMatch(sentence);
    for (const sentence of found) expect(sentence).toMatch(/^rmap head 0x\w+ \(0x\w+\)/);
  });
});
