/** A request head as a client would write it, from a URL, a method and fields. */

export interface RequestWords {
  readonly url: string;
  readonly method: string;
  /** With Host among them, the URL's is left out. */
  readonly fields: readonly (readonly [name: string, value: string])[];
}

/** null: it is no URL, or a line break is where it would end a line. A path is one where the fields have its host. */
export function writtenRequest({ url, method, fields }: RequestWords): string | null {
  const named = fields.some(([name]) => name.toLowerCase() === "host");
  const parsed = parsedUrl(named && url.startsWith("/") ? `host${url}` : url);
  if (parsed === null || [method, ...fields.flat()].some((text) => /[\r\n]/.test(text))) return null;
  const host: RequestWords["fields"] = named ? [] : [["Host", parsed.host]];
  const lines = [...host, ...fields].map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${parsed.pathname}${parsed.search} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** Parsers take the path of a URL without a host for one. */
function parsedUrl(url: string): URL | null {
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? url : `http://${url}`;
  return /:\/\/[^/\\]/.test(whole) ? URL.parse(whole) : null;
}
