/** A question that must be answered first. The browser's own dialog keeps the focus inside, and Esc closes it. */
import type { Child } from "hono/jsx";
import { useLayoutEffect, useRef, useState } from "hono/jsx/dom";
import { ApiFailure } from "../api-client.ts";

interface DialogProps {
  readonly title: string;
  /** What the button does: `Cordon`, never `OK`. */
  readonly action: string;
  readonly dangerous?: boolean;
  /** Not yet: something that must be typed is missing. */
  readonly blocked?: boolean;
  /** null: the dialog cannot be left without. */
  readonly onClose: (() => void) | null;
  /** Closes when it resolves; what it throws is shown. */
  readonly onAction: () => Promise<unknown>;
  readonly children?: Child;
}

export function Dialog({ title, action, dangerous = false, blocked = false, onClose, onAction, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    // One that is only taken away does not give the focus back to where it came from
    return () => shown?.close();
  }, []);
  const act = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (blocked || busy) return;
    setBusy(true);
    setProblem("");
    try {
      await onAction();
      onClose?.();
    } catch (error) {
      setProblem(error instanceof ApiFailure ? error.message : String(error));
      setBusy(false);
    }
  };
  const cancelled = (event: Event): void => {
    event.preventDefault();
    onClose?.();
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onCancel={cancelled}>
      <form onSubmit={act}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        <p class="problem" role="alert">{problem}</p>
        <p class="actions">
          {onClose !== null && <button type="button" onClick={onClose}>Cancel</button>}
          <button type="submit" class={dangerous ? "danger" : "primary"} disabled={blocked || busy}>{action}</button>
        </p>
      </form>
    </dialog>
  );
}
