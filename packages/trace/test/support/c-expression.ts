/** A value of C as the print formats of events use it: a number of any width, or text. */
export type CValue = bigint | string;

/** Names that an expression may use: `REC`, `role`, … */
export type CNames = Readonly<Record<string, Readonly<Record<string, bigint>>>>;

const TOKEN = /\s*("(?:[^"\\]|\\.)*"|->|==|<<|[A-Za-z_]\w*|\d+(?:ULL|UL|U)?|.)/gy;

function tokensOf(text: string): string[] {
  return [...text.trim().matchAll(TOKEN)].map((match) => match[1]!);
}

/** Evaluates the expressions that occur in `print fmt` lines: members, arithmetic of bits, comparison, choice, `__print_flags`. */
class Evaluator {
  #position = 0;

  constructor(
    readonly tokens: readonly string[],
    readonly names: CNames,
    readonly tables: Readonly<Record<string, readonly string[]>>,
  ) {}

  take(expected?: string): string {
    const token = this.tokens[this.#position++];
    if (token === undefined || (expected !== undefined && token !== expected)) {
      throw new SyntaxError(`${token} instead of ${expected} in ${this.tokens.join(" ")}`);
    }
    return token;
  }

  sees(token: string): boolean {
    return this.tokens[this.#position] === token;
  }

  atEnd(): boolean {
    return this.#position === this.tokens.length;
  }

  choice(): CValue {
    const condition = this.equality();
    if (!this.sees("?")) return condition;
    this.take();
    const yes = this.choice();
    this.take(":");
    const no = this.choice();
    return condition !== 0n ? yes : no;
  }

  equality(): CValue {
    const left = this.bits();
    if (!this.sees("==")) return left;
    this.take();
    return left === this.bits() ? 1n : 0n;
  }

  bits(): CValue {
    const left = this.shift();
    if (!this.sees("&")) return left;
    this.take();
    return number(left) & number(this.shift());
  }

  shift(): CValue {
    const left = this.primary();
    if (!this.sees("<<")) return left;
    this.take();
    return number(left) * 2n ** number(this.primary());
  }

  primary(): CValue {
    const token = this.take();
    if (token === "-") return -number(this.primary());
    if (token === "(") return this.closing(")", this.choice());
    if (token.startsWith('"')) return this.strings(token.slice(1, -1));
    if (/^\d/.test(token)) return BigInt(token.replace(/\D+$/, ""));
    if (token === "__print_flags") return this.printFlags();
    const table = this.tables[token];
    if (table !== undefined) {
      this.take("[");
      return this.closing("]", table[Number(this.choice())]!);
    }
    return this.member(token);
  }

  closing(token: string, value: CValue): CValue {
    this.take(token);
    return value;
  }

  /** Literals side by side are one. */
  strings(first: string): string {
    let text = first;
    while (this.tokens[this.#position]?.startsWith('"')) text += this.take().slice(1, -1);
    return text;
  }

  member(name: string): CValue {
    if (this.sees("->") || this.sees(".")) this.take();
    const field = this.take();
    const value = this.names[name]?.[field];
    if (value === undefined) throw new ReferenceError(`${name}.${field}`);
    return value;
  }

  printFlags(): string {
    this.take("(");
    let rest = number(this.choice());
    this.take(",");
    const separator = String(this.choice());
    const items: string[] = [];
    while (this.sees(",")) {
      this.take();
      this.take("{");
      const mask = number(this.choice());
      this.take(",");
      const name = String(this.choice());
      this.take("}");
      if ((rest & mask) !== mask) continue;
      items.push(name);
      rest -= mask;
    }
    this.take(")");
    if (rest !== 0n) items.push(`0x${rest.toString(16)}`);
    return items.join(separator);
  }
}

function number(value: CValue): bigint {
  if (typeof value !== "bigint") throw new TypeError(`${JSON.stringify(value)} where a number belongs`);
  return value;
}

/** The values of a list of expressions with commas between. */
export function evaluateList(
  text: string,
  names: CNames,
  tables: Readonly<Record<string, readonly string[]>> = {},
): CValue[] {
  const evaluator = new Evaluator(tokensOf(text), names, tables);
  const values = [evaluator.choice()];
  while (!evaluator.atEnd()) {
    evaluator.take(",");
    values.push(evaluator.choice());
  }
  return values;
}
