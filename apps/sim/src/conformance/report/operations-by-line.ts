import type { Operation } from "../input/operation.js";

/** Finds the operation to which a line of the trace belongs. */
export class OperationsByLine {
  private readonly byLine = new Map<number, Operation>();

  /** @param operations in the order of their lines */
  constructor(private readonly operations: readonly Operation[]) {
    for (const operation of operations) {
      for (const { line } of operation.records) this.byLine.set(line, operation);
    }
  }

  /** The operation that has the line; for a line of none, the last one before it, null if there is none. */
  find(line: number): Operation | null {
    return this.byLine.get(line) ?? this.operations.findLast((operation) => operation.line <= line) ?? null;
  }
}
