/** Takes an endpoint out of service for a while, or lets it back. */
import { useState } from "hono/jsx/dom";
import { change } from "../api-client.ts";
import { Choice } from "./choice.tsx";
import { Dialog } from "./dialog.tsx";

const EXPIRIES = [["1h", "1 hour"], ["15m", "15 minutes"], ["4h", "4 hours"], ["1d", "1 day"], ["7d", "7 days"]] as const;

interface CordonProps {
  readonly endpoint: string;
  readonly cordoned: boolean;
  readonly onDone: () => void;
}

/** The button, and the question that it asks. */
export function CordonButton({ endpoint, cordoned, onDone }: CordonProps) {
  const [asking, setAsking] = useState(false);
  const Question = cordoned ? UncordonDialog : CordonDialog;
  return (
    <>
      <button
        type="button"
        class="small"
        aria-label={`${cordoned ? "Uncordon" : "Cordon"} ${endpoint}`}
        onClick={() => setAsking(true)}
      >
        {cordoned ? "Uncordon" : "Cordon"}
      </button>
      {asking && <Question endpoint={endpoint} onClose={() => setAsking(false)} onDone={onDone} />}
    </>
  );
}

interface QuestionProps {
  readonly endpoint: string;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

function pathOf(endpoint: string): string {
  return `/api/endpoints/${encodeURIComponent(endpoint)}/cordon`;
}

function CordonDialog({ endpoint, onClose, onDone }: QuestionProps) {
  const [expires, setExpires] = useState<string>(EXPIRIES[0][0]);
  const [reason, setReason] = useState("");
  const cordon = (): Promise<void> =>
    change<unknown>("POST", pathOf(endpoint), { expires, ...reason !== "" && { reason } }).then(onDone);
  return (
    <Dialog title="Cordon this endpoint?" action="Cordon" dangerous onClose={onClose} onAction={cordon}>
      <p>
        <code>{endpoint}</code>{" "}
        gets no new requests from this edge; running ones finish. Where its hosts have another endpoint, that takes over; where not,
        clients get 503.
      </p>
      <Choice label="For" value={expires} options={EXPIRIES} onChoice={setExpires} />
      <label class="field">
        <span class="field-name">Reason, for your colleagues</span>
        <input maxlength={200} onInput={(event: Event) => setReason((event.target as HTMLInputElement).value.trim())} />
      </label>
    </Dialog>
  );
}

function UncordonDialog({ endpoint, onClose, onDone }: QuestionProps) {
  const uncordon = (): Promise<void> => change<unknown>("DELETE", pathOf(endpoint)).then(onDone);
  return (
    <Dialog title="Uncordon this endpoint?" action="Uncordon" onClose={onClose} onAction={uncordon}>
      <p>
        <code>{endpoint}</code> gets requests again as soon as its probe passes.
      </p>
    </Dialog>
  );
}
