/** The proxy that runs on this machine with these settings, asked at its admin address. */
import { request, type RequestOptions } from "node:http";
import type { ListenAddress, Settings } from "../lifecycle/settings.ts";

/** Where it is asked, and with what right. */
export type AdminAccess = Pick<Settings, "adminAddr" | "adminToken">;

/** What it answers; a text: why there is no answer. */
export type AdminAnswer = { readonly status: number; readonly body: unknown } | string;

/** Most of an answer that is read. */
const MOST_BYTES = 64 * 1024 * 1024;
const PATIENCE_MS = 5000;

/** Posts JSON. */
export function askRunningProxy({ adminAddr, adminToken }: AdminAccess, path: string, question: unknown): Promise<AdminAnswer> {
  if (adminAddr === null) return Promise.resolve("it has no admin address");
  const body = JSON.stringify(question);
  const options: RequestOptions = {
    ..."path" in adminAddr ? { socketPath: adminAddr.path } : reachable(adminAddr),
    path,
    method: "POST",
    agent: false,
    headers: {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      ...adminToken !== "" && { authorization: `Bearer ${adminToken}` },
    },
    signal: AbortSignal.timeout(PATIENCE_MS),
  };
  return new Promise((resolve) => {
    const asked = request(options, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MOST_BYTES) asked.destroy(new Error("its answer is too long"));
      });
      response.on("end", () => resolve(answerOf(response.statusCode ?? 0, Buffer.concat(chunks).toString())));
      response.on("error", (error) => resolve(reasonOf(error)));
    });
    asked.on("error", (error) => resolve(reasonOf(error)));
    asked.end(body);
  });
}

/** For people. */
export function adminPlace({ adminAddr }: AdminAccess): string {
  if (adminAddr === null) return "";
  if ("path" in adminAddr) return `unix:${adminAddr.path}`;
  const { host, port } = reachable(adminAddr);
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Who listens on every address is reached on this machine's own. */
function reachable({ host, port }: ListenAddress): ListenAddress {
  return { host: host === "" || host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host, port };
}

function answerOf(status: number, text: string): AdminAnswer {
  try {
    return { status, body: JSON.parse(text) as unknown };
  } catch {
    return "what answers there is no edgeproxy";
  }
}

function reasonOf(error: Error): string {
  const { code, message } = error as { code?: unknown; message: string };
  return error.name === "TimeoutError" || error.name === "AbortError"
    ? "no answer in time"
    : typeof code === "string"
    ? code
    : message;
}
