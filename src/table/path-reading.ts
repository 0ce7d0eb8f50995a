/*  How the path of a request is read where routes look at it. A VM may read more into a path than is written there, and servers differ: some
 *  take `%2F` for a slash, merge `//`, walk `..` up or drop what follows a `;`. A route that is to protect `/admin` must not be
 *  passed by `/x/..%2Fadmin`, and one that is to open `/public` not be used to get at what the VM makes of `/public/../admin`.
 *
 *  So a path has several readings, and all must lead to the same route; otherwise the request is refused as malformed:
 *
 *      as sent      escapes decoded of all visible characters (`/%61pi` is `/api`) but the delimiters `/ \ ; ? # %`; the others in capitals
 *      walked       dot segments walked, with what follows a `;` in them left out; so, and with `//` merged before
 *      bared        before that what follows a `;` in any segment left out: Tomcat and its like take `/admin;x` for `/admin`
 *      opened       before that also `%2F`, `%5C` and `\` taken for slashes, and `%3B` for `;`
 *
 *  Nearly every path has one reading, which is the text itself. What is sent on is the path as it came, whatever was read.
 */

const PERCENT = 0x25, SLASH = 0x2f, BACKSLASH = 0x5c, DOT = 0x2e, SEMICOLON = 0x3b;

/** At least one; equal ones once. The first is `pathAsSent`. */
export function pathReadings(path: string): readonly string[] {
  if (isPlain(path)) return [path];
  const sent = pathAsSent(path);
  const open = opened(sent);
  const readings = [sent];
  for (const text of new Set([sent, bared(sent), open, bared(open)])) readings.push(walked(text, false), walked(text, true));
  return [...new Set(readings)];
}

/** The same for all paths that some server takes for the same: what counts or hashes by path must not have many names for one. */
export function pathIdentity(path: string): string {
  return isPlain(path) ? path : walked(bared(opened(pathAsSent(path))), true);
}

/** `sent`: as `pathAsSent` gives it. */
function opened(sent: string): string {
  return sent.replace(/%2F|%5C|\\/g, "/").replaceAll("%3B", ";");
}

/** Without the parameters of segments. */
function bared(path: string): string {
  return path.includes(";") ? path.replace(/;[^/]*/g, "") : path;
}

/** One spelling of each path. Each character is one byte. */
export function pathAsSent(path: string): string {
  if (isWritten(path)) return path;
  const ascii = path.replace(/[^!-~]+/g, (text) => Array.from(text, escaped).join(""));
  if (!ascii.includes("%")) return ascii;
  return ascii.replace(/%([0-9a-fA-F]{2})/g, (escape, digits: string) => {
    const c = parseInt(digits, 16);
    return isVisible(c) ? String.fromCharCode(c) : escape.toUpperCase();
  });
}

/** No escape, no backslash, no parameter, no empty and no dot segment. */
function isPlain(path: string): boolean {
  let before = 0;
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c === PERCENT || c === BACKSLASH || c === SEMICOLON || c > 0x7e || before === SLASH && (c === SLASH || c === DOT)) {
      return false;
    }
    before = c;
  }
  return true;
}

/** Nothing is escaped, and nothing has to be. */
function isWritten(path: string): boolean {
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c < 0x21 || c > 0x7e || c === PERCENT) return false;
  }
  return true;
}

function isVisible(c: number): boolean {
  return c > 0x20 && c < 0x7f && !"/\\;?#%".includes(String.fromCharCode(c));
}

function escaped(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

/** As RFC 3986, 5.2.4 walks dot segments. `merging`: empty segments count for nothing. */
function walked(path: string, merging: boolean): string {
  if (!path.startsWith("/")) return path;
  const segments: string[] = [];
  const parts = path.slice(1).split("/");
  for (const [place, part] of parts.entries()) {
    const name = part.startsWith(".") ? part.split(";", 1)[0]! : part;
    const last = place === parts.length - 1;
    if (name === "..") segments.pop();
    else if (name !== "." && (part !== "" || !merging)) segments.push(part);
    if (last && (name === "." || name === ".." || part === "" && merging)) segments.push("");
  }
  return segments.length === 0 ? "/" : `/${segments.join("/")}`;
}
