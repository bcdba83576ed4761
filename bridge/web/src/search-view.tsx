// Search as you type: each letter gives up the call before.

import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { type Filters, type Found, type Hit, Refused, TokenMissing, search } from "./api";
import { capital, count, fileName, freshness, spot } from "./words";

const PAUSE_MS = 160;
const TYPES = [
  ["", "any type"],
  ["pdf", "PDF"],
  ["text,markdown", "notes and text"],
  ["word,slides,table", "Office and tables"],
  ["html,book", "pages and books"],
  ["mail", "mail"],
  ["code,notebook,json", "code and data"],
] as const;
const AGES = [
  ["", "any time"],
  ["1d", "past day"],
  ["7d", "past week"],
  ["30d", "past month"],
  ["1y", "past year"],
] as const;

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
  const [type, setType] = useState("");
  const [since, setSince] = useState("");
  const list = useRef<HTMLOListElement>(null);
  const wanted = query.trim();

  useEffect(() => {
    setTrouble(null);
    if (!wanted) return setFound(null);
    const left = new AbortController();
    const timer = setTimeout(() => {
      search(wanted, { within, type, since } satisfies Filters, left.signal)
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
  }, [wanted, within, type, since, locked, round]);

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
      <p className="narrow">
        <Choice label="Type of file" options={TYPES} value={type} choose={setType} />
        <Choice label="Modified" options={AGES} value={since} choose={setSince} />
        {within && <span>in {within}</span>}
      </p>
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
        {byFile(found?.hits ?? []).map((hits) => (
          <li key={hits[0]?.document}>
            {hits.map((hit, n) => (
              <button key={n} type="button" onClick={() => open(hit)}>
                <span className="where">
                  {n === 0 && <b>{fileName(hit.path)}</b>}
                  {spot(hit) && <span>{spot(hit)}</span>}
                  {hit.heading && <span>{hit.heading}</span>}
                </span>
                <span className="snippet" dir="auto">
                  <Marked hit={hit} />
                </span>
                {hit.also_in && hit.also_in.length > 0 && (
                  <span className="aside" title={hit.also_in.join("\n")}>
                    also in {hit.also_in.length === 1 ? fileName(hit.also_in[0] ?? "") : count(hit.also_in.length, "other file")}
                  </span>
                )}
              </button>
            ))}
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

interface Choosing {
  label: string;
  options: readonly (readonly [string, string])[];
  value: string;
  choose: (value: string) => void;
}

function Choice({ label, options, value, choose }: Choosing): ReactNode {
  return (
    <select aria-label={label} value={value} onChange={(event) => choose(event.target.value)}>
      {options.map(([word, name]) => (
        <option key={word} value={word}>
          {name}
        </option>
      ))}
    </select>
  );
}

/** A file's passages together, where its best one stands. */
function byFile(hits: Hit[]): Hit[][] {
  const files = new Map<string, Hit[]>();
  for (const hit of hits) files.set(hit.path, [...(files.get(hit.path) ?? []), hit]);
  return [...files.values()];
}

const SNIPPET = 320;

/** The part of the passage where its first mark stands, with its marks. */
function Marked({ hit }: { hit: Hit }): ReactNode {
  const chars = Array.from(hit.text);
  const marks = hit.marks ?? [];
  const first = marks[0]?.[0] ?? 0;
  const isShort = chars.length <= SNIPPET || first < SNIPPET / 2;
  const from = isShort ? 0 : chars.lastIndexOf(" ", first - SNIPPET / 4) + 1;
  const to = Math.min(chars.length, from + SNIPPET);
  const parts: ReactNode[] = [from > 0 && "… "];
  let at = from;
  for (const [start, end] of marks.filter(([start, end]) => start >= from && end <= to)) {
    parts.push(chars.slice(at, start).join(""), <mark key={start}>{chars.slice(start, end).join("")}</mark>);
    at = end;
  }
  return [...parts, chars.slice(at, to).join("")];
}
