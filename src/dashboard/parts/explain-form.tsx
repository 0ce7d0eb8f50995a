/** What would become of a request: asked of a worker that serves, with nothing sent. */
import { useEffect, useRef, useState } from "hono/jsx/dom";
import { ApiFailure, change } from "../api-client.ts";
import type { ExplainQuestion, Explanation } from "../explanation.ts";
import { ExplanationView } from "./explanation-view.tsx";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

type Suppose = ExplainQuestion["suppose"];

/** `url`: what the form starts with; when `at` once, it is asked straight away. */
export function ExplainForm({ url, atOnce = false }: { url: string; atOnce?: boolean }) {
  const form = useRef<HTMLFormElement>(null);
  const [answer, setAnswer] = useState<Explanation | null>(null);
  const [problem, setProblem] = useState("");
  const [suppose, setSuppose] = useState<Suppose>({});
  const explain = async (supposed: Suppose): Promise<void> => {
    const question = questionOf(form.current, supposed);
    if (question === null || question.url === "") return;
    setSuppose(supposed);
    try {
      setAnswer(await change<Explanation>("POST", "/api/explain", question));
      setProblem("");
    } catch (error) {
      setProblem(error instanceof ApiFailure ? error.message : String(error));
    }
  };
  useEffect(() => {
    if (atOnce) void explain({});
  }, []);
  const asked = (event: Event): void => {
    event.preventDefault();
    void explain({});
  };
  return (
    <div class="explain">
      <form ref={form} onSubmit={asked} class="explain-form">
        <label class="field">
          <span class="field-name">Method</span>
          <select name="method">{METHODS.map((method) => <option key={method}>{method}</option>)}</select>
        </label>
        <label class="field url">
          <span class="field-name">URL</span>
          <input name="url" value={url} required placeholder="http://app.example.com/path" spellcheck={false} autocomplete="off" />
        </label>
        <button type="submit" class="primary">Explain</button>
        <details class="explain-headers">
          <summary>Headers and client</summary>
          <label class="field">
            <span class="field-name">
              One per line, as <code>Name: value</code>
            </span>
            <textarea name="headers" rows={3} spellcheck={false}></textarea>
          </label>
          <label class="field">
            <span class="field-name">Address of the client</span>
            <input name="client" placeholder="127.0.0.1" spellcheck={false} autocomplete="off" />
          </label>
        </details>
      </form>
      <p class="problem" role="alert">{problem}</p>
      <div aria-live="polite">
        {answer !== null && problem === "" && (
          <ExplanationView
            of={answer}
            suppose={suppose}
            onSuppose={(next) => void explain(next)}
          />
        )}
      </div>
    </div>
  );
}

function questionOf(form: HTMLFormElement | null, suppose: Suppose): ExplainQuestion | null {
  if (form === null) return null;
  const given = new FormData(form);
  const text = (name: string): string => String(given.get(name) ?? "");
  const headers = text("headers").split("\n").filter((line) => line.includes(":")).map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
  const client = text("client").trim();
  return { url: text("url").trim(), method: text("method"), headers, suppose, ...client !== "" && { client } };
}
