// What the daemon says over HTTP, and how it refuses.
//
//   Unreachable    nobody answered         -> try again later
//   Refused        it answered "no"        -> .message says why; .retryAfter when to come back
//   TokenMissing   it wants its token      -> ask the reader for it

import { keep, kept } from "./kept";

export interface Freshness {
  as_of: string | null;
  pending: number;
}

/** A passage and where it stands: what a citation and a hit have in common. */
export interface Place {
  path: string;
  document: string;
  heading: string | null;
  start_line: number | null;
  end_line: number | null;
  page: number | null;
}

export interface Citation extends Place {
  n: number;
  quote: string;
  passage?: string | null;
  /** 0..1: how far the passage says what the answer cites it for. */
  support?: number | null;
}

export interface Hit extends Place {
  text: string;
  score: number;
  /** Other files with this passage. */
  also_in?: string[];
  /** Where the query's words stand in `text`: [start, end) in Unicode characters, of which JavaScript may need two. */
  marks?: [number, number][];
}

/** What is searched: a glob, types of files ("pdf", "code"), and how long ago a file was modified at most ("7d"). */
export interface Filters {
  within: string;
  type: string;
  since: string;
}

export interface Found {
  hits: Hit[];
  freshness: Freshness;
  degraded?: string[];
}

export interface Timings {
  search_ms?: number | null;
  first_ms?: number | null;
  total_ms?: number | null;
}

export interface Piece {
  chunk: string;
  is_final: false;
}

export interface Final {
  chunk: string;
  is_final: true;
  question?: string | null;
  answer?: string;
  citations?: Citation[];
  freshness?: Freshness;
  engine?: string;
  cache_hit?: boolean;
  grounded?: boolean | null;
  trace_id?: string | null;
  degraded?: string[];
  timings?: Timings | null;
  error?: string | null;
}

export interface FileReason {
  path: string;
  reason: string;
}

export interface Progress {
  files: number;
  files_done: number;
  chunks: number;
  chunks_per_s: number;
  seconds_left: number | null;
  reading: string | null;
}

export interface Status {
  documents: number;
  chunks: number;
  pending: number;
  failed: FileReason[];
  as_of: string | null;
  embedding: string;
  store: string;
  engine: string;
  workers: number;
  roots: string[];
  state: "idle" | "indexing" | "paused";
  warnings: string[];
  left_out: FileReason[];
  progress: Progress | null;
  growing: { embedding: string; store: string; chunks_left: number } | null;
  traces_url?: string | null;
}

export interface Document {
  path: string;
  document: string;
  media_type: string | null;
  text: string;
  pages: { page: number; text: string }[] | null;
}

export class Unreachable extends Error {}

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null,
  ) {
    super(message);
  }
}

export class TokenMissing extends Error {}

const API = (import.meta.env.VITE_API_URL ?? "").replace(/\/+$/, "");
const DEFAULT_WAIT_S = 5;

export function giveToken(token: string): void {
  keep("token", token);
}

export async function search(query: string, { within, type, since }: Filters, signal: AbortSignal): Promise<Found> {
  const narrower = { ...scope(within), ...(type && { type }), ...(since && { since }) };
  return json(await call("/search", { ...posted({ query, limit: 12, ...narrower }), signal }));
}

export async function status(signal: AbortSignal): Promise<Status> {
  return json(await call("/status", { signal }));
}

export async function document(id: string, signal: AbortSignal): Promise<Document> {
  return json(await call(`/documents/${encodeURIComponent(id)}`, { signal }));
}

export async function file(id: string): Promise<ArrayBuffer> {
  return (await call(`/documents/${encodeURIComponent(id)}/file`)).arrayBuffer();
}

/** The id of an answer that is made from here on, whether or not anybody listens at once. */
export async function ask(text: string, within: string, session: string, signal: AbortSignal): Promise<string> {
  const begun = await call("/answers", { ...posted({ text, session, ...scope(within) }), signal });
  return (await json<{ request: string }>(begun)).request;
}

/** An answer's stream after the event `last`, or from its beginning. */
export function listenTo(request: string, last: string | null, signal: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = last ? { "Last-Event-ID": last } : {};
  return call(`/answers/${encodeURIComponent(request)}`, { headers, signal });
}

export async function cancel(request: string): Promise<void> {
  await call(`/answers/${encodeURIComponent(request)}`, { method: "DELETE" });
}

/** What the reader thinks of an answer, kept beside its trace; the last word counts. */
export async function rate(traceId: string, up: boolean): Promise<void> {
  await call("/ratings", posted({ trace_id: traceId, up }));
}

function scope(within: string): { in?: string } {
  return within ? { in: within } : {};
}

function posted(body: unknown): RequestInit {
  return { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
}

async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const token = kept("token");
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const response = await fetch(API + path, { ...init, headers, credentials: "omit", cache: "no-store" }).catch(
    (error: unknown) => {
      if (init.signal?.aborted) throw error;
      throw new Unreachable("Tandem does not answer.");
    },
  );
  if (response.ok) return response;
  if (response.status === 401) throw new TokenMissing("Tandem asks for its token.");
  throw new Refused(response.status, await reason(response), retryAfter(response));
}

async function json<T>(response: Response): Promise<T> {
  try {
    return (await response.json()) as T;
  } catch {
    throw new Unreachable("The reply broke off.");
  }
}

async function reason(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { error?: { message?: unknown } };
    if (typeof body.error?.message === "string") return body.error.message;
  } catch {
    // not ours: a proxy's page, or cut off
  }
  return `HTTP ${response.status}`;
}

function retryAfter(response: Response): number | null {
  if (response.status !== 429 && response.status !== 503) return null;
  const seconds = Number(response.headers.get("Retry-After") ?? DEFAULT_WAIT_S);
  return Number.isFinite(seconds) ? Math.max(1, Math.ceil(seconds)) : DEFAULT_WAIT_S;
}
