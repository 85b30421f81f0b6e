import type { TraceKernel } from "../../schema/kernel-layout.js";
import type { KvmMmuPageFields } from "../../schema/kvm-event-fields.js";
import { UnwritableRecordError } from "../errors.js";
import type { PayloadScanner } from "../payload-scanner.js";
import { accessLetters, readAccessLetters } from "./access-letters.js";
import { type EventText, type EventTexts, hex } from "./event-text.js";

/** A flag that is printed with a `!` in front when it is clear. */
function readNegatable(scanner: PayloadScanner, name: string): boolean {
  const set = !scanner.skips("!");
  scanner.literal(name);
  return set;
}

function readUnsync(scanner: PayloadScanner): boolean {
  if (scanner.skips("unsync")) return true;
  scanner.literal("sync");
  return false;
}

/** The kernel's own words, from behind `sp gen`. */
function readKernelPage(scanner: PayloadScanner): KvmMmuPageFields {
  const gen = scanner.decimalAfter(" gen ");
  const gfn = scanner.hexAfter(" gfn ");
  const level = scanner.decimalAfter(" l");
  const byte = scanner.decimalAfter(" ");
  const quadrant = scanner.decimalAfter("-byte q");
  const direct = scanner.skips(" direct");
  scanner.literal(" ");
  const access = readAccessLetters(scanner);
  const invalid = scanner.skips(" invalid");
  scanner.literal(" ");
  const nxe = readNegatable(scanner, "nxe ");
  const ad = readNegatable(scanner, "ad");
  const root = scanner.decimalAfter(" root ");
  scanner.literal(" ");
  return {
    gen,
    gfn,
    level,
    byte,
    quadrant,
    direct,
    access,
    invalid,
    nxe,
    ad,
    root,
    unsync: readUnsync(scanner),
  };
}

/** The words of trace-cmd's plugin: no generation and no A/D, but CR0.WP and what follows from CR4. */
function readPluginPage(scanner: PayloadScanner): KvmMmuPageFields {
  scanner.evidence.pluginPageText++;
  const gfn = scanner.hexAfter(" gfn ");
  const level = scanner.decimalAfter(" ");
  const quadrant = scanner.decimalAfter(" q");
  const direct = scanner.skips(" direct");
  scanner.literal(" ");
  const access = readAccessLetters(scanner);
  const invalid = scanner.skips(" invalid");
  scanner.literal(" ");
  const byte = readNegatable(scanner, "pae ") ? 8 : 4;
  const nxe = readNegatable(scanner, "nxe ");
  readNegatable(scanner, "wp");
  for (const word of [" smep", " smap", " smm"]) scanner.skips(word);
  const root = scanner.decimalAfter(" root ");
  scanner.literal(" ");
  const unsync = readUnsync(scanner);
  return { gen: null, gfn, level, byte, quadrant, direct, access, invalid, nxe, ad: null, root, unsync };
}

function readPage(scanner: PayloadScanner): KvmMmuPageFields {
  scanner.literal("sp");
  return scanner.sees(" gen ") ? readKernelPage(scanner) : readPluginPage(scanner);
}

function refuseNull(field: "gen" | "ad"): never {
  throw new UnwritableRecordError(
    "page of page tables",
    field,
    null,
    field === "gen" ? "0 or 1" : "true or false",
  );
}

/** `sp gen … gfn … l… …-byte q… … root … sync`. */
function writePage(page: KvmMmuPageFields, kernel: TraceKernel): string {
  const place = `sp gen ${page.gen ?? refuseNull("gen")} gfn ${hex(page.gfn)} l${page.level} ${page.byte}-byte q${page.quadrant}`;
  const access = `${page.direct ? " direct" : ""} ${accessLetters(page.access, kernel)}`;
  const flags = `${page.nxe ? "" : "!"}nxe ${(page.ad ?? refuseNull("ad")) ? "" : "!"}ad`;
  const state = `root ${page.root} ${page.unsync ? "unsync" : "sync"}`;
  return `${place}${access}${page.invalid ? " invalid" : ""} ${flags} ${state}`;
}

const pageText: EventText<KvmMmuPageFields> = { read: readPage, write: writePage };

/** `<page> new` or `<page> existing`; trace-cmd's plugin has the word in front. */
function readGetPage(scanner: PayloadScanner): KvmMmuPageFields & { readonly created: boolean } {
  if (scanner.skips("new ")) return { ...readPage(scanner), created: true };
  if (scanner.skips("existing ")) return { ...readPage(scanner), created: false };
  const page = readPage(scanner);
  const created = scanner.skips(" new");
  if (!created) scanner.literal(" existing");
  return { ...page, created };
}

/** Pages of page tables. */
export const pagesText: EventTexts<
  | "kvm_mmu_get_page"
  | "kvm_mmu_sync_page"
  | "kvm_mmu_unsync_page"
  | "kvm_mmu_prepare_zap_page"
  | "kvm_mmu_zap_all_fast"
> = {
  kvm_mmu_get_page: {
    read: readGetPage,
    write: (fields, kernel) => `${writePage(fields, kernel)} ${fields.created ? "new" : "existing"}`,
  },
  kvm_mmu_sync_page: pageText,
  kvm_mmu_unsync_page: pageText,
  kvm_mmu_prepare_zap_page: pageText,
  kvm_mmu_zap_all_fast: {
    read: (scanner) => ({
      mmu_valid_gen: scanner.decimalAfter("kvm-mmu-valid-gen "),
      mmu_used_pages: scanner.hexAfter(" used_pages "),
    }),
    write: ({ mmu_valid_gen, mmu_used_pages }) =>
      `kvm-mmu-valid-gen ${mmu_valid_gen} used_pages ${hex(mmu_used_pages)}`,
  },
};
