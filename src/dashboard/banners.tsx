/** What every view must know of: the page is out of date, the edge drains, an old table is served on purpose. */
import type { Child } from "hono/jsx";
import type { Overview } from "./answers.ts";
import { contact } from "./api-client.ts";
import { clockTime } from "./format.ts";
import { Icon } from "./parts/icon.tsx";
import { Moment } from "./parts/moment.tsx";
import { linkTo } from "./place.ts";
import { useStore } from "./store.ts";

export function Banners({ overview }: { overview: Overview | null }) {
  const { lostAtMs, answeredAtMs } = useStore(contact);
  return (
    <div class="banners" role="status">
      {lostAtMs !== null && (
        <Banner tone="bad">
          The admin address does not answer{answeredAtMs !== null && `; what is shown is from ${clockTime(answeredAtMs)}`}. It is
          asked again every few seconds.
        </Banner>
      )}
      {overview !== null && overview.drain !== null && (
        <Banner tone="warning">
          This edge drains ({overview.drain.reason}): it takes no new connections and ends when running work is done, at the latest
          {" "}
          <Moment at={overview.drain.deadline} />.
        </Banner>
      )}
      {overview !== null && overview.pinned !== null && (
        <Banner tone="warning">
          Revision {overview.pinned.revision} is{" "}
          <a href={linkTo("revisions")}>pinned</a>: changes in the database do not reach the traffic. The pin ends{" "}
          <Moment at={overview.pinned.until} />.
        </Banner>
      )}
    </div>
  );
}

function Banner({ tone, children }: { tone: "warning" | "bad"; children?: Child }) {
  return (
    <div class={`banner ${tone}`}>
      <Icon name="warning" />
      <span>{children}</span>
    </div>
  );
}
