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

export interface TokenWish {
  /** The one that was given is not right. */
  readonly wrong: boolean;
}

const TOKEN_KEY = "edgeproxy-token";
const PATIENCE_MS = 30_000;

export const contact: Store<Contact> = new Store<Contact>({ answeredAtMs: null, lostAtMs: null });
/** Not null while the reader is asked for the token. */
export const tokenWish: Store<TokenWish | null> = new Store<TokenWish | null>(null);

export function giveToken(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
  tokenWish.set(null);
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

/** A response with status 2xx, its body not read; for the event stream. */
export async function open(path: string, init: RequestInit): Promise<Response> {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("Authorization", `Bearer ${token}`);
    const response = await reached(path, { ...init, headers, cache: "no-store", redirect: "error" });
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
  const response = await open(path, init);
  return response.status === 204 ? undefined as Answer : await response.json() as Answer;
}

async function reached(path: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(path, init);
    contact.set({ answeredAtMs: Date.now(), lostAtMs: null });
    return response;
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const { answeredAtMs, lostAtMs } = contact.value;
    contact.set({ answeredAtMs, lostAtMs: lostAtMs ?? Date.now() });
    throw new ApiFailure(0, "unreachable", "The admin address does not answer");
  }
}

/** Resolves when there is another token than the one that did not do. */
async function askForToken(refused: string | null, signal?: AbortSignal): Promise<void> {
  const now = sessionStorage.getItem(TOKEN_KEY);
  if (now !== null && now !== refused) return;
  tokenWish.set({ wrong: refused !== null });
  const given = Promise.withResolvers<void>();
  const stop = tokenWish.subscribe(() => {
    if (tokenWish.value === null) given.resolve();
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

/** For requests that should not wait forever. */
export function patience(): AbortSignal {
  return AbortSignal.timeout(PATIENCE_MS);
}
