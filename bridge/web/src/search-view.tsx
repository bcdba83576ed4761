// Search as you type: each letter gives up the call before.

import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { type Found, type Hit, Refused, TokenMissing, search } from "./api";
import { capital, count, fileName, freshness, spot } from "./words";

const PAUSE_MS = 160;

interface Searching {
  query: string;
  setQuery: (query: string) => void;
  within: string;
  open: (hit: Hit) => void;
  locked: () => void;
}

export function SearchView({ query, setQuery, within, open, locked }: Searching): ReactNode {
  const [found, setFound] = useState<Found | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [round, setRound] = useState(0);
  const list = useRef<HTMLOListElement>(null);
  const wanted = query.trim();

  useEffect(() => {
    setTrouble(null);
    if (!wanted) return setFound(null);
    const left = new AbortController();
    const timer = setTimeout(() => {
      search(wanted, within, left.signal)
        .then(setFound)
        .catch((error: unknown) => {
          if (left.signal.aborted) return;
          if (error instanceof TokenMissing) locked();
          setFound(null);
          setTrouble(error instanceof Error ? error.message : String(error));
          // Too much to do at the moment: once more when it said.
          if (error instanceof Refused && error.retryAfter) setTimeout(() => setRound((n) => n + 1), error.retryAfter * 1000);
        });
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      left.abort();
    };
  }, [wanted, within, locked, round]);

  function move(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    const stops = [...(event.currentTarget.querySelectorAll<HTMLElement>("input, ol button") ?? [])];
    const next = stops[stops.indexOf(document.activeElement as HTMLElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  return (
    <div className="search" role="search" onKeyDown={move}>
      <input
        type="search"
        className="field"
        aria-label="Search your files"
        placeholder="Search your files"
        autoComplete="off"
        spellCheck={false}
        autoFocus
        value={query}
        onChange={(event) => setQuery(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter") return;
          event.preventDefault();
          list.current?.querySelector("button")?.focus();
        }}
      />
      <p className="aside" aria-live="polite">
        {trouble ? "" : found ? told(found) : wanted ? "Searching" : "Words or a question; the passages that fit best come as you type."}
      </p>
      {trouble && (
        <p className="notice bad" role="alert">
          {capital(trouble)}
        </p>
      )}
      {found?.degraded?.map((reason) => (
        <p key={reason} className="notice">
          {capital(reason)}
        </p>
      ))}
      <ol className="hits" ref={list}>
        {found?.hits.map((hit, n) => (
          <li key={`${hit.document}.${n}`}>
            <button type="button" onClick={() => open(hit)}>
              <span className="where">
                <b>{fileName(hit.path)}</b>
                {spot(hit) && <span>{spot(hit)}</span>}
                {hit.heading && <span>{hit.heading}</span>}
              </span>
              <span className="snippet" dir="auto">
                <Marked text={snippet(hit.text, wanted)} query={wanted} />
              </span>
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}

function told(found: Found): string {
  const what = found.hits.length ? count(found.hits.length, "passage") : "Nothing fits. Try other words, or fewer";
  return `${what} · ${freshness(found.freshness)}`;
}

const SNIPPET = 320;

/** The part of the passage where its first searched word stands. */
function snippet(text: string, query: string): string {
  if (text.length <= SNIPPET) return text;
  const at = text.search(pattern(query) ?? /^/);
  if (at < SNIPPET / 2) return text.slice(0, SNIPPET);
  const start = text.lastIndexOf(" ", at - SNIPPET / 4) + 1;
  return `… ${text.slice(start, start + SNIPPET)}`;
}

function Marked({ text, query }: { text: string; query: string }): ReactNode {
  const words = pattern(query);
  if (!words) return text;
  // A pattern with one group: every other part is a word that was searched for.
  return text.split(words).map((part, n) => (n % 2 ? <mark key={n}>{part}</mark> : part));
}

function pattern(query: string): RegExp | null {
  const words = query.match(/[\p{L}\p{N}_]{3,}/gu);
  if (!words) return null;
  return new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})`, "giu");
}
