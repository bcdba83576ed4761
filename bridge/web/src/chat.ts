// The conversation: it asks, listens, stops, and finds its way back after a lost connection or a reload.

import { type Final, type Piece, Refused, TokenMissing, Unreachable, ask, cancel, listenTo } from "./api";
import { keep, kept } from "./kept";
import { events } from "./sse";
import { type Rating, type Turn, asked, heard, isUnderWay } from "./turn";

export interface Chat {
  /** One for each chat: what the server remembers for follow-ups. */
  session: string;
  turns: Turn[];
}

const SHOWN_EVERY_MS = 40;
const SAVED_EVERY_MS = 250;
const STOP_PATIENCE_MS = 4000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const GIVEN_UP_AFTER = 20;
const ASKED_AGAIN = 5;

let chat: Chat = restored();
let listening: AbortController | null = null;
let wake: (() => void) | null = null;
const watchers = new Set<() => void>();

export function current(): Chat {
  return chat;
}

export function subscribe(watcher: () => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

export function begin(question: string, within: string): void {
  if (isUnderWay(chat.turns.at(-1))) return;
  chat = { ...chat, turns: [...chat.turns, asked(unique(), question, within)] };
  shown();
  void follow();
}

/** Asks the last question again, from the beginning. */
export function again(): void {
  const turn = chat.turns.at(-1);
  if (!turn || isUnderWay(turn)) return;
  replace(asked(unique(), turn.question, turn.within));
  void follow();
}

/** Does at once what the chat waits to do: asks again, reconnects, or goes on with the token that was given. */
export function hurry(): void {
  wake?.();
}

export async function stop(): Promise<void> {
  const turn = chat.turns.at(-1);
  if (!turn || !isUnderWay(turn) || turn.stopping) return;
  if (!turn.request || !["asking", "answering"].includes(turn.phase.name)) return hangUp(turn);
  replace({ ...turn, stopping: true });
  // Its end comes over the stream, unless the connection is gone.
  setTimeout(() => hangUp(turn), STOP_PATIENCE_MS);
  await cancel(turn.request).catch(() => undefined);
}

export function startOver(): void {
  const turn = chat.turns.at(-1);
  if (turn && isUnderWay(turn)) {
    if (turn.request) void cancel(turn.request).catch(() => undefined);
    listening?.abort();
  }
  chat = { session: unique(), turns: [] };
  shown();
}

/** Remembers what the server was told of an answer. */
export function rated(key: string, rating: Rating): void {
  chat = { ...chat, turns: chat.turns.map((turn) => (turn.key === key ? { ...turn, rated: rating } : turn)) };
  shown();
}

/** Goes on with what a reload interrupted. */
export function goOn(): void {
  const turn = chat.turns.at(-1);
  if (turn && isUnderWay(turn) && !listening) void follow();
}

function hangUp(turn: Turn): void {
  const now = chat.turns.at(-1);
  if (now?.key !== turn.key || !isUnderWay(now)) return;
  if (now.request) void cancel(now.request).catch(() => undefined);
  listening?.abort();
  replace({ ...now, phase: { name: "stopped" }, stopping: false });
}

/** Carries the last turn to its end. */
async function follow(): Promise<void> {
  const hungUp = new AbortController();
  listening = hungUp;
  const key = chat.turns.at(-1)?.key;
  let failures = 0;
  let refusals = 0;
  for (;;) {
    const turn = chat.turns.at(-1);
    if (!turn || turn.key !== key) return;
    const before = turn.last;
    try {
      await listen(turn, hungUp.signal);
      break;
    } catch (error) {
      if (hungUp.signal.aborted) break;
      const now = chat.turns.at(-1) ?? turn;
      if (now.last !== before) failures = 0;
      if (error instanceof TokenMissing) {
        replace({ ...now, phase: { name: "locked" } });
        await pause(null, hungUp.signal);
      } else if (error instanceof Refused && error.retryAfter && ++refusals <= ASKED_AGAIN) {
        const wait = error.retryAfter * 1000;
        // What was refused before its first word is no answer: it is asked for anew.
        const request = now.last ? now.request : null;
        replace({ ...now, request, phase: { name: "refused", why: error.message, at: Date.now() + wait } });
        await pause(wait, hungUp.signal);
      } else if (error instanceof Unreachable && now.request && failures < GIVEN_UP_AFTER) {
        const wait = BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)] ?? 0;
        replace({ ...now, phase: { name: "cut", why: error.message, at: Date.now() + wait } });
        await pause(wait, hungUp.signal);
      } else {
        replace({ ...now, phase: { name: "failed", why: told(error, now) }, stopping: false });
        break;
      }
    }
    if (hungUp.signal.aborted) break;
  }
  if (listening === hungUp) listening = null;
}

/** Hears an answer to its end; throws where it is cut off. */
async function listen(turn: Turn, signal: AbortSignal): Promise<void> {
  const request = turn.request ?? (await ask(turn.question, turn.within, chat.session, signal));
  // Known from here on, so that a reload finds it.
  let now: Turn = { ...turn, request };
  replace(now);
  const response = await listenTo(request, turn.last, signal);
  now = { ...now, phase: { name: "answering" } };
  replace(now);
  if (!response.body) throw new Unreachable("The reply was empty.");
  try {
    for await (const { id, data } of events(response.body)) {
      if (signal.aborted) return;
      if (data === "[DONE]") continue; // to the very end: hanging up here would look like leaving
      const part = JSON.parse(data) as Piece | Final;
      const stopping = chat.turns.at(-1)?.stopping ?? false;
      replace(heard({ ...now, stopping }, id, part), !part.is_final);
      now = chat.turns.at(-1) ?? now;
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
  }
  if (isUnderWay(chat.turns.at(-1))) throw new Unreachable("The connection was lost in the middle of the answer.");
}

function told(error: unknown, turn: Turn): string {
  if (error instanceof Refused) {
    if (error.status === 404 && turn.request) {
      return "This answer is not known to Tandem any more: it was restarted, or the answer is too old. Ask again.";
    }
    return error.message;
  }
  if (error instanceof Unreachable) {
    return "Tandem does not answer. See that it runs (tandem up), then ask again.";
  }
  return "The reply was not one that this page understands. Reload the page; it may be older than the daemon.";
}

/** Until the time is over, `hurry`, the network's return, or the end. */
function pause(ms: number | null, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = ms === null ? undefined : setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      wake = null;
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    }
    wake = done;
    if (ms !== null) addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}

function replace(turn: Turn, soon = false): void {
  chat = { ...chat, turns: [...chat.turns.slice(0, -1), turn] };
  if (soon) shownSoon();
  else shown();
}

// Tokens come faster than a page need be drawn.
let showing: number | undefined;
let saving: number | undefined;

function shown(): void {
  clearTimeout(showing);
  showing = undefined;
  save();
  for (const watcher of watchers) watcher();
}

function shownSoon(): void {
  showing ??= setTimeout(() => {
    showing = undefined;
    saving ??= setTimeout(save, SAVED_EVERY_MS);
    for (const watcher of watchers) watcher();
  }, SHOWN_EVERY_MS);
}

function save(): void {
  clearTimeout(saving);
  saving = undefined;
  keep("chat", JSON.stringify(chat));
}

addEventListener("pagehide", save);

function restored(): Chat {
  try {
    const chat = JSON.parse(kept("chat") ?? "") as Chat;
    if (typeof chat.session === "string" && Array.isArray(chat.turns)) return chat;
  } catch {
    // none, or of another version of the page
  }
  return { session: unique(), turns: [] };
}

/** crypto.randomUUID is not there for pages over plain HTTP from another machine. */
function unique(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
