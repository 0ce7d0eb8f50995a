/** Strings and values as JSON text that is safe in a log, whatever bytes a client or a database sent. */

/** How deep a logged value may nest before it is cut off. */
const MAX_DEPTH = 8;

/** `text` as a JSON string literal. Also escapes DEL and the C1 controls, which JSON allows raw and terminals obey. */
export function jsonString(text: string): string {
  return isPlain(text) ? `"${text}"` : escaped(text);
}

/** What stands between the quotes. */
export function jsonInner(text: string): string {
  return isPlain(text) ? text : escaped(text).slice(1, -1);
}

/** Any value as JSON text; never throws, never loops: cycles, getters that throw and odd types become text. */
export function jsonValue(value: unknown): string {
  return render(value, []) ?? "null";
}

function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x22 || c === 0x5c) return false;
  }
  return true;
}

function escaped(text: string): string {
  // JSON.stringify is well-formed: lone surrogates come out as escapes.
  return JSON.stringify(text).replace(/[\x7f-\x9f\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Undefined when the value has no JSON form (undefined, function, symbol): its key is left out. */
function render(value: unknown, ancestors: readonly object[]): string | undefined {
  switch (typeof value) {
    case "string":
      return jsonString(value);
    case "number":
      return Number.isFinite(value) ? String(value) : jsonString(String(value));
    case "boolean":
      return String(value);
    case "bigint":
      return jsonString(String(value));
    case "undefined":
    case "function":
    case "symbol":
      return undefined;
    case "object":
      return value === null ? "null" : renderObject(value, ancestors);
  }
}

function renderObject(value: object, ancestors: readonly object[]): string {
  if (ancestors.includes(value)) return '"[circular]"';
  if (ancestors.length >= MAX_DEPTH) return '"[too deep]"';
  const path = [...ancestors, value];
  try {
    if (value instanceof Error) return renderError(value, path);
    if (value instanceof Date) return jsonString(Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString());
    if (value instanceof Map) return renderObject(Object.fromEntries(value), path);
    if (Array.isArray(value) || value instanceof Set) {
      return `[${[...value].map((item) => render(item, path) ?? "null").join(",")}]`;
    }
    return renderFields(Object.entries(value), path);
  } catch (error) {
    return jsonString(`[unreadable: ${error instanceof Error ? error.message : "error"}]`);
  }
}

function renderError(error: Error, path: readonly object[]): string {
  const { code, stack } = error as Error & { code?: unknown };
  const fields: [string, unknown][] = [["message", error.message]];
  if (code !== undefined) fields.push(["code", code]);
  if (error.cause !== undefined) fields.push(["cause", error.cause]);
  if (stack !== undefined) fields.push(["stack", stack]);
  return renderFields(fields, path);
}

function renderFields(fields: readonly (readonly [string, unknown])[], path: readonly object[]): string {
  const parts: string[] = [];
  for (const [name, value] of fields) {
    const text = render(value, path);
    if (text !== undefined) parts.push(`${jsonString(name)}:${text}`);
  }
  return `{${parts.join(",")}}`;
}
