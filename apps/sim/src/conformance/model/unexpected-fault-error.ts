/** Thrown when the model's hardware faults where the recorded one did not. */
export class UnexpectedFaultError extends Error {
  override readonly name = "UnexpectedFaultError";

  constructor(
    readonly address: number,
    readonly errorCode: bigint,
  ) {
    super(
      `the model faults at 0x${address.toString(16)}, error code 0x${errorCode.toString(16)}; the kernel did not`,
    );
  }
}
