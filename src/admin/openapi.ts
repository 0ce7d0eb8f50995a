/** The description of the admin API for programs (OpenAPI 3.1), made of the schemas that parse and answer. */
import { z } from "zod";
import type { AdminPath, Answer } from "./path.ts";
import { PROBLEM } from "./problem.ts";

/** What any path may answer before or beside its own answers. */
const EVERYWHERE: Readonly<Record<number, string>> = {
  401: "The token is missing or wrong",
  403: "Without a token: the request came by a foreign name or from another web site",
  429: "Too many wrong tokens from this address",
  500: "A bug of the admin API",
};
const TOKEN = "token";

type Json = Record<string, unknown>;

export function openApi(paths: readonly AdminPath[], version: string): Json {
  const documented: Record<string, Json> = {};
  for (const path of paths) {
    const at = path.path.replaceAll(/:(\w+)/g, "{$1}");
    documented[at] = { ...documented[at], [path.method.toLowerCase()]: operation(path) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "edgeproxy admin API", version, summary: "What an operator of one edge sees and steers" },
    tags: [...new Set(paths.map(({ tag }) => tag))].map((name) => ({ name })),
    security: [{ [TOKEN]: [] }],
    paths: documented,
    components: {
      securitySchemes: {
        [TOKEN]: { type: "http", scheme: "bearer", description: "EDGEPROXY_ADMIN_TOKEN, where one is configured" },
      },
      schemas: { Problem: schemaOf(PROBLEM, "output") },
    },
  };
}

function operation(path: AdminPath): Json {
  const { method, tag, summary, body } = path;
  return {
    operationId: `${method.toLowerCase()}${path.path.replaceAll(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    tags: [tag],
    summary,
    ...path.open === true && { security: [] },
    parameters: [...parameters("path", path.params), ...parameters("query", path.query)],
    ...body !== undefined && { requestBody: { content: { "application/json": { schema: schemaOf(body, "input") } } } },
    responses: responses(path),
  };
}

function parameters(place: "path" | "query", schema: z.ZodType | undefined): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(schema, "input") as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    ...description !== undefined && { description },
    required: place === "path" || required.includes(name),
    schema: rest,
  }));
}

function responses(path: AdminPath): Json {
  const { answers, params, query, body } = path;
  const own = Object.entries(answers).map(([status, answer]) => [status, response(answer)]);
  const refusable = params !== undefined || query !== undefined || body !== undefined;
  const refused = refusable ? { 400: "A parameter or the body is not as it must be" } : {};
  const ended = path.method === "GET" || path.action === null ? {} : { 503: "This generation has handed over or ends" };
  const common = path.open === true ? { ...refused, 500: EVERYWHERE[500]! } : { ...refused, ...EVERYWHERE, ...ended };
  const others = Object.entries(common)
    .filter(([status]) => !(status in answers))
    .map(([status, meaning]) => [status, response({ meaning })]);
  return Object.fromEntries([...own, ...others]);
}

/** Without a schema and a type of its own it is a problem. */
function response({ meaning, schema, contentType }: Answer): Json {
  if (contentType !== undefined) return { description: meaning, content: { [contentType]: { schema: { type: "string" } } } };
  const described = schema === undefined ? { "$ref": "#/components/schemas/Problem" } : schemaOf(schema, "output");
  return { description: meaning, content: { "application/json": { schema: described } } };
}

/** Answers may get further fields in time, so they are not said to be complete. */
function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io,
    override: ({ jsonSchema }) => {
      if (io === "output" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  return rest;
}
