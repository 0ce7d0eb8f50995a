/** Asks for EDGEPROXY_ADMIN_TOKEN when the API does. It is kept until the tab closes, and goes nowhere but to this address. */
import { useState } from "hono/jsx/dom";
import { giveToken, tokenWish } from "./api-client.ts";
import { Dialog } from "./parts/dialog.tsx";
import { useStore } from "./store.ts";

export function TokenDialog() {
  const wish = useStore(tokenWish);
  return wish === null ? null : <TokenQuestion wrong={wish.wrong} key={String(wish.wrong)} />;
}

function TokenQuestion({ wrong }: { wrong: boolean }) {
  const [token, setToken] = useState("");
  const give = (): Promise<void> => Promise.resolve(giveToken(token.trim()));
  return (
    <Dialog title="Who is there?" action="Sign in" blocked={token.trim() === ""} onClose={null} onAction={give}>
      <p>This edge asks for a token. It is kept until you close the tab.</p>
      {wrong && <p class="problem" role="alert">That token is not right.</p>}
      <label class="field">
        <span class="field-name">Admin token</span>
        <input
          type="password"
          name="token"
          autocomplete="current-password"
          onInput={(event: Event) => setToken((event.target as HTMLInputElement).value)}
        />
        <span class="hint">The value of EDGEPROXY_ADMIN_TOKEN</span>
      </label>
    </Dialog>
  );
}
