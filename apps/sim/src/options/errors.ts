/** Base of every mistake that is the user's: shown as one line, exit code 2. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** Thrown when a size is not written as the selftests accept it. */
export class InvalidSizeError extends UsageError {
  override readonly name = "InvalidSizeError";
  constructor(text: string) {
    super(
      `${JSON.stringify(text)} is not a size; expected a decimal, 0x hexadecimal or 0 octal number, ` +
        "then nothing, b, k, m, g or t, e.g. 64M",
    );
  }
}

/** Thrown when a size is too large to be represented exactly. */
export class SizeRangeError extends UsageError {
  override readonly name = "SizeRangeError";
  constructor(text: string) {
    super(`size ${JSON.stringify(text)} is larger than ${Number.MAX_SAFE_INTEGER} bytes`);
  }
}

/** Thrown when the value of an option is outside what the option allows. */
export class OptionRangeError extends UsageError {
  override readonly name = "OptionRangeError";
  constructor(option: string, value: string | number, allowed: string) {
    super(`${option} ${typeof value === "string" ? JSON.stringify(value) : value} is outside ${allowed}`);
  }
}

/** Thrown when two options, each valid, cannot be combined. */
export class IncompatibleOptionsError extends UsageError {
  override readonly name = "IncompatibleOptionsError";
  constructor(first: string, second: string, reason: string) {
    super(`${first} cannot be combined with ${second}: ${reason}`);
  }
}
