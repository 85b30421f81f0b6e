import { UsageError } from "../options/errors.js";

/** Thrown when a command that runs a scenario is given none, or one that does not exist. */
export class UnknownScenarioError extends UsageError {
  override readonly name = "UnknownScenarioError";
  constructor(command: string, given: string | undefined, allowed: readonly string[]) {
    const what =
      given === undefined ? `${command} needs a scenario` : `${JSON.stringify(given)} is no scenario`;
    super(`${what}; allowed: ${allowed.join(", ")}`);
  }
}

/** Thrown when the bundled trace is not where the package was installed. */
export class BundledTraceMissingError extends UsageError {
  override readonly name = "BundledTraceMissingError";
  constructor(from: string) {
    super(`no directory above ${from} has fixtures/sqlite.lackey.gz; is the package complete?`);
  }
}
