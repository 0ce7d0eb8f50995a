/** Asks for EDGEPROXY_ADMIN_TOKEN when the API does. It is kept until the tab closes, and goes nowhere but to this address. */
import { useState } from "hono/jsx/dom";
import { giveToken, tokenWanted } from "./api-client.ts";
import { Dialog } from "./parts/dialog.tsx";
import { useStore } from "./store.ts";

export function TokenDialog() {
  return useStore(tokenWanted) ? <TokenQuestion /> : null;
}

function TokenQuestion() {
  const [token, setToken] = useState("");
  return (
    <Dialog
      title="Admin token"
      action="Sign in"
      blocked={token.trim() === ""}
      onClose={null}
      onAction={() => giveToken(token.trim())}
    >
      <p id="token-hint">The value of EDGEPROXY_ADMIN_TOKEN. It is kept until you close this tab.</p>
      <label class="field">
        <span class="field-name">Token</span>
        <input
          type="password"
          name="token"
          aria-describedby="token-hint"
          autocomplete="current-password"
          onInput={(event: Event) => setToken((event.target as HTMLInputElement).value)}
        />
      </label>
    </Dialog>
  );
}
