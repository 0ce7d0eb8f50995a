/** Cookies of a request (RFC 6265, 4.2.1): several fields may carry them, and several of one name may come. */
import { withoutSpace } from "./bytes.ts";
import type { HeaderList } from "./header-list.ts";

/** As sent, in order; also with the quotes that some servers put around them. */
export function cookieValues(fields: HeaderList, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < fields.count; i++) {
    if (!fields.nameIs(i, "cookie")) continue;
    for (const pair of fields.value(i).split(";")) {
      const equals = pair.indexOf("=");
      if (equals >= 0 && withoutSpace(pair.slice(0, equals)) === name) values.push(withoutSpace(pair.slice(equals + 1)));
    }
  }
  return values;
}
