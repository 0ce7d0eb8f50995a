/** What a view shows instead of its content: it is coming, there is none, it cannot be had. */
import type { Child } from "hono/jsx";
import type { ApiFailure } from "../api-client.ts";
import type { Polled } from "../polled.ts";
import { Icon } from "./icon.tsx";

export function Loading({ what }: { what: string }) {
  return (
    <p class="state" aria-busy="true">
      <span class="spinner" aria-hidden="true"></span>Loading {what}…
    </p>
  );
}

export function Empty({ children }: { children?: Child }) {
  return <p class="state">{children}</p>;
}

export function Failed({ what, failure, again }: { what: string; failure: ApiFailure; again?: () => void }) {
  return (
    <div class="state failed" role="alert">
      <p>
        <Icon name="warning" /> Cannot load {what}: {failure.message}
      </p>
      {again !== undefined && <button type="button" onClick={again}>Try again</button>}
    </div>
  );
}

const GONE: ReadonlySet<number> = new Set([400, 404]);

/** The content once there is an answer. After that only a clear no takes its place: there is no such thing any more. */
export function Shown<Answer>(
  { what, polled, children }: { what: string; polled: Polled<Answer>; children: (answer: Answer) => Child },
) {
  const { answer, failure, again } = polled;
  if (failure !== null && (answer === null || GONE.has(failure.status))) {
    return <Failed what={what} failure={failure} again={again} />;
  }
  if (answer === null) return <Loading what={what} />;
  return <>{children(answer)}</>;
}
