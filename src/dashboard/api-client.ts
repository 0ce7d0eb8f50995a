/*  How the page talks to the admin API: JSON with the token, if one is needed. A 401 asks the reader for it, and the request goes on
 *  when it is there; nothing else in the page knows of tokens.
 */
import { Store } from "./store.ts";

export type Parameters = Readonly<Record<string, string | number | undefined>>;

/** The API said no, or could not be reached. */
export class ApiFailure extends Error {
  /** 0: it did not answer. */
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = "ApiFailure";
    this.status = status;
    this.code = code;
  }
}

export interface Contact {
  /** When the API last answered anything at all; null: not yet. */
  readonly answeredAtMs: number | null;
  /** Since when it does not; null: it does. */
  readonly lostAtMs: number | null;
}

const TOKEN_KEY = "edgeproxy-token";
const PATIENCE_MS = 30_000;

export const contact: Store<Contact> = new Store<Contact>({ answeredAtMs: null, lostAtMs: null });
/** The reader is asked for the token. */
export const tokenWanted: Store<boolean> = new Store(false);

/** Tries it first: every view would ask with a wrong one, and an address with too many wrong tokens is locked out. */
export async function giveToken(token: string): Promise<void> {
  const response = await reached("/api/regions", { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" }, PATIENCE_MS);
  if (response.status === 401) throw new ApiFailure(401, "unauthorized", "That token is not right");
  if (!response.ok) throw await failureOf(response);
  await response.body?.cancel();
  sessionStorage.setItem(TOKEN_KEY, token);
  tokenWanted.set(false);
}

export function hasToken(): boolean {
  return sessionStorage.getItem(TOKEN_KEY) !== null;
}

export function forgetToken(): void {
  sessionStorage.removeItem(TOKEN_KEY);
  location.reload();
}

/** `/api/routes?limit=50`: parameters without a value are left out. */
export function pathOf(path: string, parameters: Parameters = {}): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== "");
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

export async function ask<Answer>(path: string, signal?: AbortSignal): Promise<Answer> {
  return await request<Answer>("GET", path, undefined, signal);
}

export async function change<Answer>(method: "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<Answer> {
  return await request<Answer>(method, path, body);
}

/** A response with status 2xx, its body not read; `patienceMs`: for all of it, but not for the reader to find the token. */
export async function open(path: string, init: RequestInit, patienceMs?: number): Promise<Response> {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("Authorization", `Bearer ${token}`);
    const response = await reached(path, { ...init, headers, cache: "no-store", redirect: "error" }, patienceMs);
    if (response.status === 401) {
      await response.body?.cancel();
      await askForToken(token, init.signal ?? undefined);
    } else if (response.ok) return response;
    else throw await failureOf(response);
  }
}

async function request<Answer>(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<Answer> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const init: RequestInit = { method, headers };
  if (body !== undefined) init.body = JSON.stringify(body);
  if (signal !== undefined) init.signal = signal;
  const response = await open(path, init, PATIENCE_MS);
  return response.status === 204 ? undefined as Answer : await response.json() as Answer;
}

async function reached(path: string, init: RequestInit, patienceMs?: number): Promise<Response> {
  const signals = [init.signal ?? [], patienceMs === undefined ? [] : AbortSignal.timeout(patienceMs)].flat();
  try {
    // Relative to the page, which may be below a path of another proxy
    const response = await fetch(path.replace(/^\//, ""), { ...init, signal: AbortSignal.any(signals) });
    contact.set({ answeredAtMs: Date.now(), lostAtMs: null });
    return response;
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const { answeredAtMs, lostAtMs } = contact.value;
    contact.set({ answeredAtMs, lostAtMs: lostAtMs ?? Date.now() });
    throw new ApiFailure(0, "unreachable", "The admin address does not answer");
  }
}

/** Resolves when there is another token than the one that did not do; rejects when nobody waits for it any more. */
async function askForToken(refused: string | null, signal?: AbortSignal): Promise<void> {
  const now = sessionStorage.getItem(TOKEN_KEY);
  if (now !== null && now !== refused) return;
  tokenWanted.set(true);
  const given = Promise.withResolvers<void>();
  const stop = tokenWanted.subscribe(() => {
    if (!tokenWanted.value) given.resolve();
  });
  const abandon = (): void => given.reject(signal?.reason);
  signal?.addEventListener("abort", abandon);
  try {
    await given.promise;
  } finally {
    stop();
    signal?.removeEventListener("abort", abandon);
  }
}

async function failureOf(response: Response): Promise<ApiFailure> {
  const { error, message } = await response.json().catch(() => ({})) as { error?: string; message?: string };
  return new ApiFailure(response.status, error ?? "unknown", message ?? `The API answered ${response.status}`);
}
