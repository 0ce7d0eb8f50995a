/** The schema of the routes file for editors (packaging/routes.schema.json), and the tables of its keys in docs/routes.md. */
import { z } from "zod";
import { routesFileSchema } from "../../src/sources/policy-schema.ts";

interface SchemaNode {
  readonly type?: unknown;
  readonly description?: string;
  readonly accepts?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | false;
  readonly anyOf?: readonly SchemaNode[];
  readonly enum?: readonly unknown[];
}

export function routesSchema(): string {
  const { $schema, ...rest } = jsonSchema();
  const title = "Routes file of edgeproxy (EDGEPROXY_CONFIG_FILE)";
  const patterns = { "^x-": { description: "Anything, for anchors that other places use." } };
  const schema = forEditors(rest) as SchemaNode;
  const { $schema: hint, routing, server, ...sections } = schema.properties!;
  const rules = routing!.properties!["rules"]!;
  const shape = {
    ...routing,
    properties: orEmpty({ ...routing!.properties, rules: { ...rules, items: optionalOrEmpty(rules.items!) } }),
  };
  const properties = { $schema: hint, ...orEmpty({ ...sections, routing: shape, server: optionalOrEmpty(server!) }) };
  return `${JSON.stringify({ $schema, title, ...schema, properties, patternProperties: patterns }, null, 2)}\n`;
}

/** With nothing behind them, whole sections and the keys of the sandbox router's shape are as good as not there. */
function orEmpty(properties: Readonly<Record<string, SchemaNode>>): Readonly<Record<string, SchemaNode>> {
  return Object.fromEntries(
    Object.entries(properties).map(([key, node]) => {
      const nothing = node.anyOf === undefined ? { type: [node.type, "null"] } : { anyOf: [...node.anyOf, { type: "null" }] };
      return [key, { ...node, ...nothing } as SchemaNode];
    }),
  );
}

function optionalOrEmpty(node: SchemaNode): SchemaNode {
  const all = Object.entries(node.properties!);
  const [needed, optional] = [true, false].map((wanted) =>
    Object.fromEntries(all.filter(([key]) => (node.required?.includes(key) === true) === wanted))
  );
  return { ...node, properties: { ...needed, ...orEmpty(optional!) } };
}

function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(routesFileSchema, { io: "input" }) as Record<string, unknown>;
}

/** Editors know no `accepts`: it goes into the description. Bounds that every whole number has say nothing. */
function forEditors(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(forEditors);
  if (typeof node !== "object" || node === null) return node;
  const entries = Object.entries(node).filter(([, value]) => Math.abs(Number(value)) !== Number.MAX_SAFE_INTEGER);
  const { accepts, description, ...rest } = Object.fromEntries(entries.map(([key, value]) => [key, forEditors(value)]));
  // A key of that name has a mapping for its value.
  if (typeof accepts === "object") return { accepts, description, ...rest };
  if (accepts === undefined || typeof description !== "string") return description === undefined ? rest : { description, ...rest };
  return { description: `${description} (${accepts})`, ...rest };
}

/** Keys below services, routes, or the others. */
export function routesFileTable(section: "services" | "routes" | "others"): string {
  const properties = (jsonSchema() as SchemaNode).properties!;
  const rows = section === "services"
    ? rowsOf(`services.NAME`, properties["services"]!.additionalProperties as SchemaNode)
    : section === "routes"
    ? rowsOf("routes[]", properties["routes"]!.items!)
    : ["sandbox", "routing", "server"].flatMap((key) => rowsOf(key, properties[key]!));
  return ["| key | accepts | default | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

/** Of what stands below it; its own is the heading's. */
function rowsOf(name: string, node: SchemaNode): string[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const path = `${name}.${key}`;
    const standard = node.required?.includes(key)
      ? "required"
      : child.default === undefined
      ? ""
      : `\`${defaultText(child.default) || '""'}\``;
    const row = `| \`${path.replace(/^(services\.NAME|routes\[\])\./, "")}\` | ${cell(acceptsOf(child))} | ${standard} | ${
      cell(child.description ?? "")
    } |`;
    const below = child.accepts !== undefined
      ? []
      : child.items?.properties
      ? rowsOf(`${path}[]`, child.items)
      : rowsOf(path, child);
    return [row, ...below];
  });
}

function defaultText(value: unknown): string {
  return Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
}

function acceptsOf(node: SchemaNode): string {
  if (node.accepts !== undefined) return node.accepts;
  if (node.enum !== undefined) return node.enum.join(", ");
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(acceptsOf))].join("; ");
  if (node.type === "array") return node.items?.properties === undefined ? `list of ${acceptsOf(node.items ?? {})}` : "list";
  if (node.type === "object") return "mapping";
  return { boolean: "true, false", string: "text", integer: "whole number", number: "number" }[String(node.type)] ?? "anything";
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
