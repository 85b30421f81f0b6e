import { Argument, type Command } from "commander";
import { publishedSchema, SCHEMA_NAMES, type SchemaName } from "../results/published-schema.js";
import { jsonText } from "../terminal/json-file.js";
import { withExamples } from "./help.js";
import type { Session } from "./session.js";

/** `kvm-age schema <result>`: the JSON Schema of what `--json` prints. */
export function addSchemaCommand(program: Command, session: Session): void {
  const schema = program
    .command("schema")
    .description("print the JSON Schema of a result")
    .addArgument(new Argument("<result>", "kind of result").choices(SCHEMA_NAMES));
  withExamples(schema, [
    ["kvm-age schema access-tracking", "to check what run access-tracking --json prints"],
  ]);
  schema.action((name: SchemaName) => session.print(jsonText(publishedSchema(name))));
}
