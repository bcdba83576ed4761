// A question, its answer, what the answer rests on, and how it came about.

import type { ReactNode } from "react";
import type { Citation, Final } from "./api";
import { again, hurry } from "./chat";
import { Markdown } from "./markdown";
import { useNow } from "./polled";
import { Thumbs } from "./thumbs";
import { type Turn, citations, isUnderWay } from "./turn";
import { capital, duration, fileName, freshness, spot } from "./words";

interface Shown {
  turn: Turn;
  isLast: boolean;
  open: (citation: Citation) => void;
  tracesUrl: string | null;
}

export function TurnView({ turn, isLast, open, tracesUrl }: Shown): ReactNode {
  const cited = citations(turn);
  const marker = (n: number, key: string): ReactNode => {
    const citation = cited.find((one) => one.n === n);
    if (citation) return <Marker key={key} citation={citation} open={open} />;
    // While it streams nothing is checked yet; afterwards a number without a source is mere text.
    return turn.final ? null : (
      <sup key={key} className="marker">
        {n}
      </sup>
    );
  };
  return (
    <article className="turn" aria-busy={isUnderWay(turn)}>
      <h2 dir="auto">{turn.question}</h2>
      {turn.within && <p className="aside">in {turn.within}</p>}
      {turn.final?.question && turn.final.question !== turn.question && (
        <p className="aside">Searched for: {turn.final.question}</p>
      )}
      {turn.text && (
        <div className={`answer${turn.phase.name === "answering" ? " streaming" : ""}`} dir="auto">
          <Markdown text={turn.text} mark={marker} />
        </div>
      )}
      <Standing turn={turn} isLast={isLast} />
      {cited.length > 0 && <Sources citations={cited} open={open} />}
      {turn.final && !turn.final.error && <Facts final={turn.final} tracesUrl={tracesUrl} />}
      {tracesUrl && turn.final?.trace_id && !turn.final.error && <Thumbs turn={turn} traceId={turn.final.trace_id} />}
    </article>
  );
}

function Marker({ citation, open }: { citation: Citation; open: (citation: Citation) => void }): ReactNode {
  return (
    <button type="button" className="marker" aria-label={sourceName(citation)} onClick={() => open(citation)}>
      {citation.n}
    </button>
  );
}

function sourceName(citation: Citation): string {
  return [`Source ${citation.n}: ${fileName(citation.path)}`, spot(citation)].filter(Boolean).join(", ");
}

function supportName(support: number): string {
  return support >= 1 ? "word for word" : `${Math.round(support * 100)} % borne out`;
}

function Standing({ turn, isLast }: { turn: Turn; isLast: boolean }): ReactNode {
  const { phase } = turn;
  const now = useNow(phase.name === "refused" || phase.name === "cut");
  const askAgain = isLast && (
    <button type="button" className="quiet" onClick={again}>
      Ask again
    </button>
  );
  switch (phase.name) {
    case "asking":
      return <p className="waiting">Looking in your files</p>;
    case "answering":
      if (turn.stopping) return <p className="waiting">Stopping</p>;
      return turn.text ? null : <p className="waiting">Waiting for the first words</p>;
    case "locked":
      return <p className="notice">Tandem asks for its token before it answers.</p>;
    case "refused":
    case "cut":
      return (
        <div className="notice" role="status">
          <p>{capital(phase.why)}</p>
          <p>
            {phase.name === "cut" ? "Connecting again" : "Asking again"} in{" "}
            {Math.max(0, Math.ceil((phase.at - now) / 1000))} s.{" "}
            <button type="button" className="quiet" onClick={hurry}>
              Now
            </button>
          </p>
        </div>
      );
    case "stopped":
      return <p className="notice">You stopped this answer. {askAgain}</p>;
    case "failed":
      return (
        <div className="notice bad" role="alert">
          <p>
            {turn.text && "The answer stops short. "}
            {capital(phase.why)}
          </p>
          {askAgain}
        </div>
      );
    case "done":
      return turn.text ? null : <p className="notice">The answer is empty. {askAgain}</p>;
  }
}

function Sources({ citations, open }: { citations: Citation[]; open: (citation: Citation) => void }): ReactNode {
  return (
    <section className="sources" aria-label="Sources">
      <h3>Sources</h3>
      <ol>
        {citations.map((citation) => (
          <li key={citation.n}>
            <button type="button" onClick={() => open(citation)} aria-label={sourceName(citation)}>
              <span className="marker">{citation.n}</span>
              <span className="source">
                <span className="where">
                  <b>{fileName(citation.path)}</b>
                  {spot(citation) && <span>{spot(citation)}</span>}
                  {citation.heading && <span>{citation.heading}</span>}
                  {citation.support != null && <span>{supportName(citation.support)}</span>}
                </span>
                <q dir="auto">{citation.quote}</q>
              </span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

const GROUNDED = [
  ["Grounded", "every sentence is supported by the passage it cites."],
  ["Not grounded", "some of it is not borne out by the passages it cites. Look at them before you rely on it."],
  ["Not checked", "nothing is claimed here that could be held against a passage."],
] as const;

function Facts({ final, tracesUrl }: { final: Final; tracesUrl: string | null }): ReactNode {
  const { grounded, timings } = final;
  const [word, meaning] = GROUNDED[grounded === true ? 0 : grounded === false ? 1 : 2];
  const parts = [
    timings?.search_ms != null && `search ${duration(timings.search_ms)}`,
    timings?.first_ms != null && `first words ${duration(timings.first_ms)}`,
  ].filter(Boolean);
  const total = timings?.total_ms != null && `${duration(timings.total_ms)}${parts.length ? ` (${parts.join(", ")})` : ""}`;
  const trace = traceUrl(tracesUrl, final.trace_id);
  return (
    <footer className="facts">
      <p className={grounded === true ? "good" : grounded === false ? "doubt" : ""}>
        <b>{word}</b>: {meaning}
      </p>
      {final.degraded?.map((reason) => (
        <p key={reason} className="doubt">
          {capital(reason)}
        </p>
      ))}
      <ul>
        {final.engine && <li>{final.engine}</li>}
        {final.cache_hit && <li>from the cache</li>}
        {total && <li>{total}</li>}
        {final.freshness && <li>{freshness(final.freshness)}</li>}
        {trace && (
          <li>
            <a href={trace} target="_blank" rel="noreferrer">
              trace
            </a>
          </li>
        )}
      </ul>
    </footer>
  );
}

/** `tracesUrl` names the trace with {trace_id}, or is what its id is put after. */
function traceUrl(tracesUrl: string | null, traceId: string | null | undefined): string | null {
  if (!tracesUrl || !traceId || !/^https?:\/\//.test(tracesUrl)) return null;
  const id = encodeURIComponent(traceId);
  return tracesUrl.includes("{trace_id}") ? tracesUrl.replace("{trace_id}", id) : `${tracesUrl.replace(/\/$/, "")}/${id}`;
}
