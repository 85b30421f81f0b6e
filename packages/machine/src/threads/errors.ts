/** Thrown when a machine is made with, or an attach asks for, more processors than it can have. */
export class CpuLimitError extends RangeError {
  override readonly name = "CpuLimitError";

  constructor(
    readonly wanted: number,
    readonly limit: number,
  ) {
    super(`${wanted} processors wanted; the range is [1, ${limit}]`);
  }
}
