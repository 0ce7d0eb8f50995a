/** The admin app (contract, section 10): what is served at EDGEPROXY_ADMIN_ADDR, never on the data plane. How to add a path: `path.ts`. */
import { Hono } from "hono";
import { z } from "zod";
import { authorise, recognise } from "./auth.ts";
import { dashboard } from "./dashboard.ts";
import type { AdminDeps } from "./deps.ts";
import { BEGIN_DRAIN, SHOW_DRAIN } from "./drain-api.ts";
import { EventStreams } from "./event-streams.ts";
import { LIST_AUDIT, LIST_ERRORS, WATCH_EVENTS } from "./events-api.ts";
import { LIST_BREAKERS, RESET_BREAKER } from "./breakers-api.ts";
import { LIST_CONNECTIONS } from "./connections-api.ts";
import { CLEAR_CORDON, LIST_CORDONS, SET_CORDON } from "./cordons-api.ts";
import { LIST_ENDPOINTS, SHOW_ENDPOINT } from "./endpoints-api.ts";
import { LIST_HEALTH } from "./health-api.ts";
import { LIST_EXCLUDED } from "./excluded-api.ts";
import { LIST_HOSTS } from "./hosts-api.ts";
import { EXPLAIN } from "./explain-api.ts";
import { SHOW_LIFE } from "./life-api.ts";
import { SHOW_METRICS } from "./metrics-api.ts";
import { openApi } from "./openapi.ts";
import { type AdminEnvironment, type AdminPath, adminPath } from "./path.ts";
import { SHOW_OVERVIEW } from "./overview-api.ts";
import { LIST_POLICY_ROUTES, LIST_POLICY_SERVICES, SHOW_POLICIES } from "./policies-api.ts";
import { LIST_TARGETS } from "./targets-api.ts";
import { LIST_ORDERS, ORDER_PATHS } from "./policy-orders-api.ts";
import { problem } from "./problem.ts";
import { SHOW_READINESS } from "./readiness-api.ts";
import { LIST_REGIONS, RUN_REFRESH } from "./refresh-api.ts";
import { LIST_REVISIONS, PIN_REVISION, SHOW_REVISION, UNPIN_REVISION } from "./revisions-api.ts";
import { LIST_ROUTES, SHOW_ROUTE } from "./routes-api.ts";
import { LIST_SERVICES, SHOW_SERVICE } from "./services-api.ts";
import { SHOW_TRAFFIC } from "./traffic-api.ts";
import { LIST_SETTINGS, RESET_LOG_LEVEL, SET_LOG_LEVEL, SHOW_LOG_LEVEL } from "./settings-api.ts";
import { LIST_WORKERS } from "./workers-api.ts";

const SHOW_OPENAPI = adminPath({
  method: "GET",
  path: "/api/openapi.json",
  tag: "api",
  summary: "This description",
  answers: { 200: { meaning: "OpenAPI 3.1", schema: z.looseObject({ openapi: z.string() }) } },
  answer: (c, deps) => c.json(openApi(ADMIN_PATHS, deps.version)),
});

/** Every path there is; the first that fits answers. */
export const ADMIN_PATHS: readonly AdminPath[] = [
  SHOW_LIFE,
  SHOW_READINESS,
  SHOW_METRICS,
  SHOW_OPENAPI,
  SHOW_OVERVIEW,
  SHOW_TRAFFIC,
  LIST_HOSTS,
  LIST_ROUTES,
  SHOW_ROUTE,
  LIST_EXCLUDED,
  SHOW_POLICIES,
  LIST_POLICY_ROUTES,
  LIST_TARGETS,
  LIST_POLICY_SERVICES,
  LIST_ORDERS,
  LIST_SERVICES,
  SHOW_SERVICE,
  ...ORDER_PATHS,
  EXPLAIN,
  LIST_REGIONS,
  RUN_REFRESH,
  LIST_REVISIONS,
  UNPIN_REVISION,
  SHOW_REVISION,
  PIN_REVISION,
  WATCH_EVENTS,
  LIST_ERRORS,
  LIST_AUDIT,
  LIST_HEALTH,
  LIST_ENDPOINTS,
  SHOW_ENDPOINT,
  SET_CORDON,
  CLEAR_CORDON,
  LIST_CORDONS,
  LIST_BREAKERS,
  RESET_BREAKER,
  LIST_CONNECTIONS,
  LIST_WORKERS,
  SHOW_DRAIN,
  BEGIN_DRAIN,
  LIST_SETTINGS,
  SHOW_LOG_LEVEL,
  SET_LOG_LEVEL,
  RESET_LOG_LEVEL,
];

export type AdminApp = Hono<AdminEnvironment>;

/** Scripts and styles only from here, nothing of others, in nobody's frame. */
const HEADERS: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

export function adminApp(deps: AdminDeps): AdminApp {
  const app: AdminApp = new Hono();
  app.use(async (c, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) if (!c.res.headers.has(name)) c.header(name, value);
  });
  // Before anybody is asked for the token: the page is what asks for it
  app.route("/", dashboard());
  const streams = new EventStreams(deps.events, deps.closing);
  app.use(async (c, next) => {
    c.set("streams", streams);
    await next();
  });
  app.use(recognise(deps));
  for (const path of ADMIN_PATHS.filter(({ open }) => open === true)) app.on(path.method, path.path, (c) => path.respond(c, deps));
  app.use(authorise);
  for (const path of new Set(ADMIN_PATHS.map(({ path }) => path))) route(app, path, deps);
  app.notFound((c) => problem(c, 404, "not_found", `There is no ${c.req.path}`));
  app.onError((error, c) => {
    deps.log.error("admin request failed", { method: c.req.method, path: c.req.path, error });
    return problem(c, 500, "internal", "A bug of the admin API; the log has the error");
  });
  return app;
}

function route(app: AdminApp, path: string, deps: AdminDeps): void {
  const here = ADMIN_PATHS.filter((each) => each.path === path);
  for (const { method, respond } of here) app.on(method, path, (c) => respond(c, deps));
  // Hono answers HEAD with what GET says
  const allowed = here.map(({ method }) => method === "GET" ? "GET, HEAD" : method).join(", ");
  app.all(path, (c) => {
    c.header("Allow", allowed);
    return problem(c, 405, "method_not_allowed", `${c.req.path} takes ${allowed}`);
  });
}
