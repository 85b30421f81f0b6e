/** What a guest that builds page tables writes into their entries. */
export interface GuestTableFormat {
  readonly name: string;
  /** Bits of an entry that refers to a table. */
  readonly table: bigint;
  /** Bits of an entry that maps a page of 4 KiB. */
  readonly page: bigint;
  /** Bits of an entry that maps a larger page. */
  readonly largePage: bigint;
}

const PAGE_SIZE = 1n << 7n;
const PRESENT_WRITABLE = 3n;
const READ_WRITE_EXECUTE = 7n;
const WRITE_BACK = 6n << 3n;

/** Long-mode page tables with supervisor pages, as the selftests' guests have them. Accessed and Dirty are the processor's to set. */
export const LONG_MODE_TABLES: GuestTableFormat = {
  name: "long mode",
  table: PRESENT_WRITABLE,
  page: PRESENT_WRITABLE,
  largePage: PRESENT_WRITABLE | PAGE_SIZE,
};

/** EPT that a hypervisor makes for its own guest. */
export const EPT_TABLES: GuestTableFormat = {
  name: "EPT",
  table: READ_WRITE_EXECUTE,
  page: READ_WRITE_EXECUTE | WRITE_BACK,
  largePage: READ_WRITE_EXECUTE | WRITE_BACK | PAGE_SIZE,
};

const NESTED_ACCESS = PRESENT_WRITABLE | 4n;

/** Nested page tables that a hypervisor makes for its own guest: user pages, because every nested access is a user access. */
export const NPT_TABLES: GuestTableFormat = {
  name: "NPT",
  table: NESTED_ACCESS,
  page: NESTED_ACCESS,
  largePage: NESTED_ACCESS | PAGE_SIZE,
};
