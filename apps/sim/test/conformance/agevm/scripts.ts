/** A scenario: what the VMM is called with. */
export interface Scenario {
  readonly backing: "4k" | "thp";
  readonly pages: number;
  readonly vcpus?: number;
  readonly actions: string;
}

/** Scenarios like those of the recordings, with less memory. */
export const SCRIPTS: Readonly<Record<string, Scenario>> = {
  age: {
    backing: "4k",
    pages: 16,
    actions: "w map sh dump idle dump q r:0:4 q w:4:4 q x:8:2 dump:8:2 q idle dump q",
  },
  ro_first: {
    backing: "4k",
    pages: 16,
    actions: "htouch map sh r dump idle dump q w:0:2 dump r:2:2 dump q idle q dump",
  },
  host_access: {
    backing: "4k",
    pages: 16,
    actions: "w sh idle q htouch:0:4 q hread:4:4 q idle dump q r:8:4 hread:8:4 q",
  },
  dirty: {
    backing: "4k",
    pages: 72,
    actions:
      "w sh dump:0:8 log:1 dump:0:8 w:0:8 dump:0:8 getlog dump:0:16 idle dump:0:16 r:0:4 w:4:2 dump q getlog dump:0:16 w:0:16 w:70:2 getlog log:0 dump:0:16 w:0:16 dump:0:16 idle q",
  },
  dirty_thp: {
    backing: "thp",
    pages: 1024,
    actions:
      "w:0:4 w:512:4 sh dump log:1 dump:0:8 w:0:8 dump:0:8 getlog idle:0:1 idle:512:1 dump:0:8 q:0:1 q:512:1 w:4:8 r:300:1 x:301:1 getlog q:0:1 log:0 w:0:8 dump:0:8 w:512:2 x:513:1 dump:510:8 idle:0:1 q:0:1",
  },
  memslot: {
    backing: "4k",
    pages: 16,
    actions: "w sh dump:0:8 del dump:0:8 add w:0:8 dump:0:8 idle dump:0:8 q r:0:4 q",
  },
  memslot_thp: {
    backing: "thp",
    pages: 1024,
    actions: "w:0:2 x:600:2 sh dump del dump add w:0:1 x:512:1 dump idle q:0:1",
  },
  dontneed: {
    backing: "4k",
    pages: 32,
    actions: "w sh map dump idle:0:16 madv:0:8:dontneed dump:0:32 w:0:4 r:4:4 map dump q sh idle q dump",
  },
  mprotect: {
    backing: "4k",
    pages: 16,
    actions:
      "w sh dump prot:0:8:1 dump r:0:8 dump:0:8 idle:0:8 dump:0:8 q:0:8 r:0:2 q:0:8 prot:0:8:3 w:0:4 dump:0:8 idle q",
  },
  thp: {
    backing: "thp",
    pages: 1024,
    actions:
      "w:0:2 r:513:2 x:2:2 sh map:0:2 dump idle:0:1 idle:512:1 dump q:0:1 q:512:1 r:3:1 dump q:0:1 q:512:1 idle:0:1 w:700:4 dump q:0:1 q:512:1",
  },
  thp_split: {
    backing: "thp",
    pages: 1024,
    actions:
      "w:0:2 w:600:1 sh dump madv:16:4:dontneed dump w:0:24 dump:0:32 sh idle:0:1 idle:16:4 q:0:1 q:16:4 dump:0:32",
  },
  race_idle: { backing: "4k", pages: 16, vcpus: 2, actions: "w sh race:w:4:i dump q" },
  race_dontneed: { backing: "4k", pages: 16, vcpus: 2, actions: "w sh race:w:3:id dump q" },
  race_log: { backing: "4k", pages: 16, vcpus: 2, actions: "w sh race:w:6:il dump getlog w getlog log:0 q" },
};
