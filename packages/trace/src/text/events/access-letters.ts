import type { TraceKernel } from "../../schema/kernel-layout.js";
import { UnwritableRecordError } from "../errors.js";
import type { PayloadScanner } from "../payload-scanner.js";

/** Letters in the order of print, and the bits that they stand for. */
type Letters = readonly (readonly [letter: string, bit: number])[];

const THREE_LETTERS: Letters = [
  ["w", 2],
  ["u", 4],
  ["x", 1],
];

const FOUR_LETTERS: Letters = [
  ["r", 1],
  ["w", 2],
  ["u", 4],
  ["x", 8],
];

function lettersOf(access: number, letters: Letters): string {
  return letters.map(([letter, bit]) => ((access & bit) === 0 ? "-" : letter)).join("");
}

function tableOf(letters: Letters): ReadonlyMap<string, number> {
  return new Map(
    Array.from({ length: 2 ** letters.length }, (_, access) => [lettersOf(access, letters), access]),
  );
}

const ACCESS_OF_THREE = tableOf(THREE_LETTERS);
const ACCESS_OF_FOUR = tableOf(FOUR_LETTERS);

/** Reads the access of a page-table page, in the numbering of the kernel that prints as many letters. */
export function readAccessLetters(scanner: PayloadScanner): number {
  const from = scanner.position;
  const text = scanner.word();
  if (text.length === 4) scanner.evidence.fourLetterAccess++;
  else scanner.evidence.threeLetterAccess++;
  const access = ACCESS_OF_FOUR.get(text) ?? ACCESS_OF_THREE.get(text);
  if (access !== undefined) return access;
  scanner.position = from;
  scanner.fail("3 or 4 letters of access");
  return 0;
}

/** The access of a page-table page in the letters of `kernel`. */
export function accessLetters(access: number, kernel: TraceKernel): string {
  const letters = kernel === "linux-7.3" ? FOUR_LETTERS : THREE_LETTERS;
  const limit = 2 ** letters.length - 1;
  if (Number.isInteger(access) && access >= 0 && access <= limit) return lettersOf(access, letters);
  throw new UnwritableRecordError("page of page tables", "access", access, `an integer in [0, ${limit}]`);
}
