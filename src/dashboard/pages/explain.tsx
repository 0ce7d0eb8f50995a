/** What would become of a request, for any URL. */
import { ExplainForm } from "../parts/explain-form.tsx";
import type { ViewProps } from "../views.tsx";

export function ExplainView({ place }: ViewProps) {
  const { url = "" } = place.query;
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Explain</h1>
        <p>What would become of a request, and why. Nothing is sent.</p>
      </div>
      <div class="panel">
        <ExplainForm url={url} atOnce={url !== ""} />
      </div>
    </div>
  );
}
