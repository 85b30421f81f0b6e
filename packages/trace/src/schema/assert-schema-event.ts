import { KVM_EVENT_SHAPES, type KvmFieldKind } from "./kvm-event-shapes.js";

/** Thrown when an event that claims a kernel's name does not carry what the schema says. */
export class NotASchemaEventError extends Error {
  override readonly name = "NotASchemaEventError";

  constructor(
    /** Name of the event. */
    readonly event: string,
    /** What is wrong with it, one sentence each. */
    readonly problems: readonly string[],
  ) {
    super(`event ${event}: ${problems.join("; ")}`);
  }
}

/** Whether a field of this kind can have the value. Numbers are integers. */
function fits(kind: KvmFieldKind, value: unknown): boolean {
  if (value === null) return kind.endsWith("|null");
  const type = kind.replace("|null", "");
  return typeof value === type && (type !== "number" || Number.isInteger(value));
}

function describe(value: unknown): string {
  return value === undefined ? "missing" : `${typeof value} ${String(value)}`;
}

/**
 * Every way in which an event differs from the schema, one sentence each; empty if it does not.
 *
 * @param name of a kernel tracepoint
 * @param fields what it carries
 */
export function schemaEventProblems(name: string, fields: Readonly<Record<string, unknown>>): string[] {
  if (!Object.hasOwn(KVM_EVENT_SHAPES, name)) return ["the schema has no event of this name"];
  const shape = KVM_EVENT_SHAPES[name as keyof typeof KVM_EVENT_SHAPES];
  const kinds = Object.entries(shape) as [string, KvmFieldKind][];
  const wrong = kinds.filter(([field, kind]) => !fits(kind, fields[field]));
  const unknown = Object.keys(fields).filter((field) => !Object.hasOwn(shape, field));
  return [
    ...wrong.map(([field, kind]) => `${field} is ${describe(fields[field])}, allowed: ${kind}`),
    ...unknown.map((field) => `${field} is no field of it`),
  ];
}

/**
 * Checks one event against the schema: its name, that every field is there and of its kind, numbers being integers, and that there is no
 * other.
 *
 * @throws NotASchemaEventError naming everything that is wrong
 */
export function assertSchemaEvent(name: string, fields: Readonly<Record<string, unknown>>): void {
  const problems = schemaEventProblems(name, fields);
  if (problems.length > 0) throw new NotASchemaEventError(name, problems);
}
