/** An endpoint's key with a link to its page; a long one goes on in the next line where its service begins. */
import { linkTo } from "../place.ts";

export function EndpointName({ of }: { of: string }) {
  const at = of.includes("@") ? of.indexOf("@") : of.length;
  return (
    <a href={linkTo("endpoint", of)}>
      <code>
        {of.slice(0, at)}
        <wbr />
        {of.slice(at)}
      </code>
    </a>
  );
}
