/** Variables as nginx writes them. Who moves from there would find them sent as they stand. */

const OURS: ReadonlyMap<string, string> = new Map([
  ["host", "{host}"],
  ["http_host", "{host}"],
  ["remote_addr", "{client_ip}"],
  ["scheme", "{scheme}"],
  ["request_method", "{method}"],
  ["request_id", "{request_id}"],
  ["uri", "{path}"],
  ["args", "{query}"],
  ["query_string", "{query}"],
  ["request_uri", "{path}?{query}"],
]);

/** null: it has none of those that mean something here. */
export function foreignVariable(text: string): string | null {
  for (const [whole] of text.matchAll(/\$(?:\w+|\{\w+\})/g)) {
    const name = whole.replaceAll(/[${}]/g, "");
    const ours = OURS.get(name) ?? partOf(name);
    if (ours !== undefined) return `${whole} would be sent as it stands: write ${ours}`;
  }
  return null;
}

/** `http_x_user` is `{header:X-User}`. */
function partOf(name: string): string | undefined {
  const [, kind, of = ""] = /^(http|cookie)_(\w+)$/.exec(name) ?? [];
  if (kind === "cookie") return `{cookie:${of}}`;
  if (kind === undefined) return undefined;
  return `{header:${of.split("_").map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("-")}}`;
}
