/** The admin app (contract, section 10): what is served at EDGEPROXY_ADMIN_ADDR, never on the data plane. */
import { Hono } from "hono";
import type { Context } from "hono";
import { authorise } from "./auth.ts";
import type { AdminDeps } from "./deps.ts";
import { showDrain } from "./drain-api.ts";
import { listEndpoints } from "./endpoints-api.ts";
import { listExcluded } from "./excluded-api.ts";
import { answerMetrics } from "./metrics-api.ts";
import { problem } from "./problem.ts";
import { answerReadiness } from "./readiness-api.ts";
import { listRegions, runRefresh } from "./refresh-api.ts";
import { listRevisions, pinRevision, showRevision, unpinRevision } from "./revisions-api.ts";
import { listRoutes, showRoute } from "./routes-api.ts";
import { listWorkers } from "./workers-api.ts";

interface AdminPath {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly answer: (c: Context, deps: AdminDeps) => Response | Promise<Response>;
}

/** Every path there is. */
export const ADMIN_PATHS: readonly AdminPath[] = [
  { method: "GET", path: "/healthz", answer: (c, deps) => c.json({ status: "alive", version: deps.version }) },
  { method: "GET", path: "/readyz", answer: answerReadiness },
  { method: "GET", path: "/metrics", answer: answerMetrics },
  { method: "GET", path: "/api/routes", answer: listRoutes },
  { method: "GET", path: "/api/routes/:host", answer: showRoute },
  { method: "GET", path: "/api/excluded", answer: listExcluded },
  { method: "GET", path: "/api/revisions", answer: listRevisions },
  { method: "DELETE", path: "/api/revisions/pin", answer: unpinRevision },
  { method: "GET", path: "/api/revisions/:revision", answer: showRevision },
  { method: "POST", path: "/api/revisions/:revision/pin", answer: pinRevision },
  { method: "GET", path: "/api/health", answer: listEndpoints },
  { method: "GET", path: "/api/regions", answer: listRegions },
  { method: "GET", path: "/api/workers", answer: listWorkers },
  { method: "GET", path: "/api/drain", answer: showDrain },
  { method: "POST", path: "/api/refresh", answer: runRefresh },
];

export function adminApp(deps: AdminDeps): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    await next();
    c.header("Cache-Control", "no-store");
    c.header("X-Content-Type-Options", "nosniff");
  });
  app.use(authorise(deps.token));
  for (const { method, path, answer } of ADMIN_PATHS) {
    app.on(method, path, (c) => answer(c, deps));
    // Hono answers HEAD with what GET says.
    const allowed = method === "GET" ? "GET, HEAD" : method;
    app.all(path, (c) => {
      c.header("Allow", allowed);
      return problem(c, 405, "method_not_allowed", `${c.req.path} takes ${allowed}`);
    });
  }
  app.notFound((c) => problem(c, 404, "not_found", `There is no ${c.req.path}`));
  app.onError((error, c) => {
    deps.log.error("admin request failed", { method: c.req.method, path: c.req.path, error });
    return problem(c, 500, "internal", "A bug of the admin API; the log has the error");
  });
  return app;
}
