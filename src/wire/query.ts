/** Parameters of a query, as forms and nearly all servers write them: `a=1&b=x+y`. */

/** The values of one name, decoded, each byte one character. */
export function queryValues(query: string, name: string): string[] {
  if (query === "") return [];
  const values: string[] = [];
  for (const pair of query.split("&")) {
    const equals = pair.indexOf("=");
    const key = equals < 0 ? pair : pair.slice(0, equals);
    if (decoded(key) === name) values.push(equals < 0 ? "" : decoded(pair.slice(equals + 1)));
  }
  return values;
}

/** A `%` that no two hexadecimal digits follow stands for itself. */
function decoded(text: string): string {
  const spaced = text.includes("+") ? text.replaceAll("+", " ") : text;
  if (!spaced.includes("%")) return spaced;
  return spaced.replace(/%([0-9a-fA-F]{2})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)));
}
