/*  The dashboard at `/`: a page without content of its own, one script and one style sheet, all of them inside the binary. Whoever
 *  has the token or not may load them, for they tell nothing: what they show comes from the API, which asks for the token.
 *
 *  The files are named for what is in them, so a browser keeps them for good and yet never shows an old version's.
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { type Context, Hono } from "hono";

interface Asset {
  /** Below `/assets/`. */
  readonly name: string;
  readonly type: string;
  readonly text: string;
  readonly packed: Uint8Array<ArrayBuffer>;
}

export interface Bundle {
  readonly script: string;
  readonly style: string;
}

const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#0f766e"/>` +
  `<path d="M7 16h7l5-7h6M14 16l5 7h6" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></svg>`;

/** Nothing but our own files, and no way to run or show what a host name or target brings along. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const FOREVER = "public, max-age=31536000, immutable";
const UNBUILT = "The dashboard is not built: run ./compile.sh --dashboard, then start edgeproxy again\n";

export function dashboard(load: () => Promise<Bundle | null> = bundled): Hono {
  const app = new Hono();
  let loading: Promise<Page | null> | undefined;
  const page = (): Promise<Page | null> => loading ??= load().then((bundle) => bundle === null ? null : new Page(bundle));
  app.get("/", async (c) => {
    const shown = await page();
    if (shown === null) return c.text(UNBUILT, 503);
    c.header("Content-Security-Policy", POLICY);
    c.header("Referrer-Policy", "no-referrer");
    c.header("Cross-Origin-Opener-Policy", "same-origin");
    return answer(c, shown.document, "no-cache");
  });
  app.get("/assets/:name", async (c, next) => {
    const found = (await page())?.assets.get(c.req.param("name"));
    return found === undefined ? await next() : answer(c, found, FOREVER);
  });
  return app;
}

class Page {
  readonly assets: ReadonlyMap<string, Asset>;
  readonly document: Asset;

  constructor({ script, style }: Bundle) {
    const [app, sheet, icon] = [
      assetOf("app", "js", "text/javascript; charset=utf-8", script),
      assetOf("app", "css", "text/css; charset=utf-8", style),
      assetOf("icon", "svg", "image/svg+xml", ICON),
    ];
    this.assets = new Map([app, sheet, icon].map((asset) => [asset.name, asset]));
    this.document = assetOf("index", "html", "text/html; charset=utf-8", documentText(app.name, sheet.name, icon.name));
  }
}

/** Paths without a leading slash, so that the page also works below a path of another proxy. */
function documentText(script: string, style: string, icon: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>edgeproxy</title>
<link rel="icon" href="assets/${icon}" type="image/svg+xml">
<link rel="stylesheet" href="assets/${style}">
<script type="module" src="assets/${script}"></script>
</head>
<body><div id="app"></div><noscript>The dashboard needs JavaScript. All it shows is in the API: api/openapi.json</noscript></body>
</html>
`;
}

function assetOf(name: string, extension: string, type: string, text: string): Asset {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
  return { name: `${name}-${hash}.${extension}`, type, text, packed: new Uint8Array(gzipSync(text, { level: 9 })) };
}

function answer(c: Context, { name, type, text, packed }: Asset, caching: string): Response {
  const etag = `"${name}"`;
  c.header("Cache-Control", caching);
  c.header("ETag", etag);
  c.header("Vary", "Accept-Encoding");
  if (c.req.header("if-none-match")?.includes(etag) === true) return c.body(null, 304);
  c.header("Content-Type", type);
  if (!/\bgzip\b/.test(c.req.header("accept-encoding") ?? "")) return c.body(text);
  c.header("Content-Encoding", "gzip");
  return c.body(packed);
}

/** Null where `compile.sh` has not made it. */
async function bundled(): Promise<Bundle | null> {
  try {
    const [script, style] = await Promise.all([
      import("../../dist/dashboard/app.js", { with: { type: "text" } }),
      import("../../dist/dashboard/app.css", { with: { type: "text" } }),
    ]);
    return { script: script.default as unknown as string, style: style.default as unknown as string };
  } catch {
    return null;
  }
}
