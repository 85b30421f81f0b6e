/** A stack line of a layer or a machine: a method of a class whose name ends in "Cpu", or a part of the validator. */
const MACHINERY = /at (?:\w*Cpu\.|(?:new )?(?:StatisticsHooks|LockValidator|HeldLocks|CallSite)[. ])/;

/** Where in the caller's code a lock was taken. Cheap to make; the text is made only when it is read. */
export class CallSite {
  private readonly trace: Error;

  constructor() {
    // Not in a field initialiser, which would be a frame of its own without a name to know it by.
    this.trace = new Error();
  }

  /** `function (file:line:column)` of the innermost caller that is neither layer nor machine. */
  toString(): string {
    const lines = (this.trace.stack ?? "").split("\n").slice(1);
    const caller = lines.find((line) => !MACHINERY.test(line)) ?? lines.at(-1) ?? "at an unknown place";
    return caller.trim().replace(/^at /, "");
  }
}
