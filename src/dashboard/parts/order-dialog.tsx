/** Maintenance and drain of a service or a route: the buttons, and the questions that they ask. */
import { useState } from "hono/jsx/dom";
import type { PolicyOrder } from "../answers.ts";
import { change } from "../api-client.ts";
import { Choice } from "./choice.tsx";
import { Dialog } from "./dialog.tsx";

const EXPIRIES = [["", "until taken back"], ["1h", "1 hour"], ["4h", "4 hours"], ["1d", "1 day"], ["7d", "7 days"]] as const;
const SPANS = [["10m", "10 minutes"], ["1m", "1 minute"], ["1h", "1 hour"], ["6h", "6 hours"], ["1d", "1 day"]] as const;

interface OrderProps {
  readonly kind: PolicyOrder["kind"];
  readonly name: string;
  /** In maintenance, whoever wants it so. */
  readonly maintained: boolean;
  readonly order: PolicyOrder | null;
  readonly onDone: () => void;
}

type Question = "maintenance" | "drain" | null;

/** `Take back` where an operator has ordered something, else what can be ordered. */
export function OrderButtons({ kind, name, maintained, order, onDone }: OrderProps) {
  const [question, setQuestion] = useState<Question>(null);
  const path = pathOf(kind, name);
  const takeBack = (what: "maintenance" | "drain") => () => change<unknown>("DELETE", `${path}/${what}`).then(onDone);
  const close = (): void => setQuestion(null);
  return (
    <span class="buttons">
      {order?.maintenance != null
        ? <OrderButton text="End maintenance order" name={name} onClick={takeBack("maintenance")} />
        : (
          <OrderButton
            text={maintained ? "End maintenance" : "Maintenance"}
            name={name}
            onClick={() => setQuestion("maintenance")}
          />
        )} {order?.drain != null
        ? <OrderButton text="End drain" name={name} onClick={takeBack("drain")} />
        : <OrderButton text="Drain" name={name} onClick={() => setQuestion("drain")} />}
      {question === "maintenance" && (
        <MaintenanceDialog path={path} name={name} enable={!maintained} onClose={close} onDone={onDone} />
      )}
      {question === "drain" && <DrainDialog path={path} name={name} onClose={close} onDone={onDone} />}
    </span>
  );
}

function OrderButton({ text, name, onClick }: { text: string; name: string; onClick: () => unknown }) {
  return <button type="button" class="small" aria-label={`${text}: ${name}`} onClick={onClick}>{text}</button>;
}

function pathOf(kind: PolicyOrder["kind"], name: string): string {
  return `/api/${kind === "service" ? "services" : "policies/routes"}/${encodeURIComponent(name)}`;
}

interface QuestionProps {
  readonly path: string;
  readonly name: string;
  readonly onClose: () => void;
  readonly onDone: () => void;
}

function MaintenanceDialog({ path, name, enable, onClose, onDone }: QuestionProps & { readonly enable: boolean }) {
  const [expires, setExpires] = useState("");
  const [body, setBody] = useState("");
  const [reason, setReason] = useState("");
  const order = (): Promise<void> =>
    change<unknown>("POST", `${path}/maintenance`, {
      enabled: enable,
      ...expires !== "" && { expires },
      ...body !== "" && { body },
      ...reason !== "" && { reason },
    }).then(onDone);
  const title = enable ? "Begin maintenance?" : "End the maintenance?";
  return (
    <Dialog title={title} action={enable ? "Begin" : "End"} dangerous={enable} onClose={onClose} onAction={order}>
      <p>
        <code>{name}</code>{" "}
        {enable ? "answers clients with 503 and what is written below." : "serves clients, whatever its policy says."}
      </p>
      {enable && <TextField name="What clients read; empty: the proxy's own page" onText={setBody} />}
      <Choice label="For" value={expires} options={EXPIRIES} onChoice={setExpires} />
      <TextField name="Reason, for your colleagues" onText={setReason} />
    </Dialog>
  );
}

function DrainDialog({ path, name, onClose, onDone }: QuestionProps) {
  const [over, setOver] = useState<string>(SPANS[0][0]);
  const [reason, setReason] = useState("");
  const order = (): Promise<void> =>
    change<unknown>("POST", `${path}/drain`, { over, ...reason !== "" && { reason } }).then(onDone);
  return (
    <Dialog title="Drain by and by?" action="Drain" dangerous onClose={onClose} onAction={order}>
      <p>
        <code>{name}</code>{" "}
        takes fewer and fewer clients, until it takes none. They go to the other targets of the split or to the next route that
        matches; where there is none they get 503.
      </p>
      <Choice label="Over" value={over} options={SPANS} onChoice={setOver} />
      <TextField name="Reason, for your colleagues" onText={setReason} />
    </Dialog>
  );
}

function TextField({ name, onText }: { name: string; onText: (text: string) => void }) {
  return (
    <label class="field">
      <span class="field-name">{name}</span>
      <input maxlength={200} onInput={(event: Event) => onText((event.target as HTMLInputElement).value.trim())} />
    </label>
  );
}
