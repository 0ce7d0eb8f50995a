/*  How the path of a request is read where routes look at it. A VM may read more into a path than is written there, and servers differ: some
 *  take `%2F` for a slash, merge `//`, walk `..` up or drop what follows a `;`. A route that is to protect `/admin` must not be
 *  passed by `/x/..%2Fadmin`, and one that is to open `/public` not be used to get at what the VM makes of `/public/../admin`.
 *
 *  So a path has up to three readings, and all must lead to the same route; otherwise the request is refused as malformed:
 *
 *      as sent      escapes of unreserved characters decoded (RFC 3986, 6.2.2.2: `/%61pi` is `/api`)
 *      walked       then `//` merged and dot segments walked, with what follows a `;` in them left out
 *      opened       before that also `%2F`, `%5C` and `\` taken for slashes, and `%3B` for `;`
 *
 *  Nearly every path has one reading, which is the text itself. What is sent on is the path as it came, whatever was read.
 */

const PERCENT = 0x25, SLASH = 0x2f, BACKSLASH = 0x5c, DOT = 0x2e;

/** At least one; equal ones once. */
export function pathReadings(path: string): readonly string[] {
  if (isPlain(path)) return [path];
  const sent = decoded(path, isUnreserved);
  const walkedPath = walked(sent);
  const opened = walked(decoded(sent, isSeparator).replaceAll("\\", "/"));
  return [...new Set([sent, walkedPath, opened])];
}

/** No escape, no backslash, no empty and no dot segment. */
function isPlain(path: string): boolean {
  let before = 0;
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c === PERCENT || c === BACKSLASH || before === SLASH && (c === SLASH || c === DOT)) return false;
    before = c;
  }
  return true;
}

/** With the escapes decoded of those characters. */
function decoded(path: string, which: (c: number) => boolean): string {
  if (!path.includes("%")) return path;
  return path.replace(/%([0-9a-fA-F]{2})/g, (escape, digits: string) => {
    const c = parseInt(digits, 16);
    return which(c) ? String.fromCharCode(c) : escape;
  });
}

/** Letters, digits, `-`, `.`, `_`, `~`. */
function isUnreserved(c: number): boolean {
  return (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a && c < 0x80 || c >= 0x30 && c <= 0x39 || c === 0x2d || c === 0x2e || c === 0x5f ||
    c === 0x7e;
}

/** `/`, `\`, `;`. */
function isSeparator(c: number): boolean {
  return c === SLASH || c === BACKSLASH || c === 0x3b;
}

/** As RFC 3986, 5.2.4 walks dot segments, but with empty segments left out but for a last one. */
function walked(path: string): string {
  if (!path.startsWith("/")) return path;
  const segments: string[] = [];
  const parts = path.slice(1).split("/");
  let open = false;
  for (const part of parts) {
    const name = part.startsWith(".") ? part.replace(/;.*$/, "") : part;
    open = part === "" || name === "." || name === "..";
    if (name === "..") segments.pop();
    else if (!open) segments.push(part);
  }
  return segments.length === 0 ? "/" : `/${segments.join("/")}${open ? "/" : ""}`;
}
