/*  How a path of the admin API is written: one value that routes, parses, documents, is audited and is tested.
 *
 *      export const LIST_THINGS = adminPath({
 *        method: "GET",
 *        path: "/api/things/:colour",
 *        tag: "things",
 *        summary: "Things of one colour, by name",
 *        params: z.object({ colour: z.string().describe("As the table writes it") }),
 *        query: listQuery(["name", "weight"], "name", { heavy: flag() }),          // listing.ts; or z.strictObject({ ... })
 *        answers: {
 *          200: { meaning: "A page of them", schema: z.object({ total: z.int(), things: z.array(THING), next: NEXT }) },
 *          404: { meaning: "There is no such colour" },                            // a problem (problem.ts) where no schema is given
 *        },
 *        answer: (c, deps, { params, query }) => c.json(...),
 *      });
 *
 *  and one line in ADMIN_PATHS (app.ts). What `query`, `params` and `body` refuse is answered with 400 before `answer` is called; an empty
 *  body is `{}`. Answers are written with `z.object`, and a view that makes one is typed `z.output<typeof THING>`, so that both agree; the
 *  tests compare every answer they get with its schema, and want an example of every path (tests/admin/openapi.test.ts). Whatever is not
 *  GET must say by `action` what the audit log calls it, or null where it changes nothing. `open: true` needs no token. 401, 403, 405, 429 and 500 are everybody's,
 *  and 503 everybody's who changes something: a generation that has handed over changes nothing any more.
 */
import type { Context } from "hono";
import { z } from "zod";
import { recordChange } from "./audit.ts";
import type { AdminDeps } from "./deps.ts";
import type { EventStreams } from "./event-streams.ts";
import { problem, refusal } from "./problem.ts";

/** What the server knows of a request besides itself. */
export interface AdminBindings {
  /** Address of who asks, or `unix socket`; absent only in tests. */
  readonly client?: string;
}

export type Refuse = () => Response;

export interface AdminEnvironment {
  Bindings: AdminBindings;
  /** `refuse`: null where the request may do everything; paths that are open do not ask. */
  Variables: { refuse: Refuse | null; streams: EventStreams };
}

export type AdminContext = Context<AdminEnvironment>;

export interface Answer {
  readonly meaning: string;
  /** Of the JSON body. */
  readonly schema?: z.ZodType;
  /** Where it is not JSON. */
  readonly contentType?: string;
}

export interface Given<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
}

interface Described {
  readonly path: string;
  /** Groups paths in the document. */
  readonly tag: string;
  /** One line, for people. */
  readonly summary: string;
  readonly answers: Readonly<Record<number, Answer>>;
  /** For everyone: it changes and tells nothing of use to who has no token. */
  readonly open?: true;
}

type Acting =
  | { readonly method: "GET" }
  | {
    readonly method: "POST" | "PUT" | "DELETE";
    /** `cordon`, `refresh`: what the audit log calls it; null: it changes nothing. */
    readonly action: string | null;
  };

export type PathDefinition<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> = Described & Acting & {
  /** Of `:name` in the path; decoded. */
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  readonly answer: (
    c: AdminContext,
    deps: AdminDeps,
    given: Given<z.output<Params>, z.output<Query>, z.output<Body>>,
  ) => Response | Promise<Response>;
};

export type AdminPath = Described & Acting & {
  readonly params: z.ZodType | undefined;
  readonly query: z.ZodType | undefined;
  readonly body: z.ZodType | undefined;
  /** Parses, and answers or refuses. */
  readonly respond: (c: AdminContext, deps: AdminDeps) => Promise<Response>;
};

/** Load balancers and browsers may add to a query that has no meaning. */
const ANYTHING = z.object({});
type Anything = typeof ANYTHING;

export function adminPath<
  Params extends z.ZodType = Anything,
  Query extends z.ZodType = Anything,
  Body extends z.ZodType = Anything,
>(
  definition: PathDefinition<Params, Query, Body>,
): AdminPath {
  const { params, query, body } = definition;
  return {
    ...definition,
    params,
    query,
    body,
    respond: async (c, deps) => {
      const given = await parse(c, params ?? ANYTHING, query ?? ANYTHING, body ?? null);
      if ("refused" in given) return given.refused;
      // What is not declared is an empty object
      const answer = async () =>
        await definition.answer(c, deps, given as Given<z.output<Params>, z.output<Query>, z.output<Body>>);
      if (definition.method === "GET" || definition.action === null) return await answer();
      // On a connection of before: what is changed here now would hold for nobody
      if (deps.closing.aborted) return closed(c);
      return await audited(definition.action, given, answer, c, deps);
    },
  };
}

function closed(c: AdminContext): Response {
  c.header("Connection", "close");
  c.header("Retry-After", "1");
  return problem(c, 503, "closing", "This generation has handed over or ends: ask again, for the next one to hear it");
}

/** Here, so that no path can forget it. */
async function audited(
  action: string,
  { params, asked }: Parsed,
  answer: () => Promise<Response>,
  c: AdminContext,
  deps: AdminDeps,
): Promise<Response> {
  const record = (succeeded: boolean) => {
    recordChange(
      { action, subject: Object.values(params as object).join(" "), details: asked, by: c.env?.client ?? "", succeeded },
      deps,
    );
  };
  try {
    const response = await answer();
    record(response.ok);
    return response;
  } catch (error) {
    record(false);
    throw error;
  }
}

interface Parsed extends Given<unknown, unknown, unknown> {
  /** Query and body as they came. */
  readonly asked: Readonly<Record<string, unknown>>;
}

async function parse(
  c: AdminContext,
  paramsSchema: z.ZodType,
  querySchema: z.ZodType,
  bodySchema: z.ZodType | null,
): Promise<Parsed | { readonly refused: Response }> {
  const params = paramsSchema.safeParse(c.req.param());
  if (!params.success) return { refused: refusal(c, "bad_path", params.error) };
  const query = querySchema.safeParse(c.req.query());
  if (!query.success) return { refused: refusal(c, "bad_query", query.error) };
  if (bodySchema === null) return { params: params.data, query: query.data, body: {}, asked: c.req.query() };
  const json = await readJson(c);
  if (json === undefined) return { refused: problem(c, 400, "bad_body", "The body must be a JSON object") };
  const body = bodySchema.safeParse(json);
  if (!body.success) return { refused: refusal(c, "bad_body", body.error) };
  return { params: params.data, query: query.data, body: body.data, asked: { ...c.req.query(), ...json } };
}

/** An empty body is an empty object; undefined: it is no JSON object. */
async function readJson(c: AdminContext): Promise<object | undefined> {
  try {
    const value: unknown = JSON.parse(await c.req.text() || "{}");
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
