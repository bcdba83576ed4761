// A passage in its document: the lines it stands on, marked, with what is around them.

import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { type Document, type Place, Refused, TokenMissing, document as fetchDocument, file } from "./api";
import { Icon } from "./icon";
import { type Span, locate } from "./locate";
import { count, fileName, folderOf } from "./words";

/** What is opened: a place, the passage there, and the words of it that an answer rests on. */
export interface Passage extends Place {
  text: string;
  quote: string;
}

const AROUND = 120;
const CODE = /\.(py|js|jsx|ts|tsx|go|rs|java|c|h|cc|cpp|hpp|cs|rb|php|sh|bash|kt|swift|scala|lua|sql|json|csv|toml|ya?ml|ipynb|css)$/i;

export function DocumentView({ passage, locked }: { passage: Passage; locked: () => void }): ReactNode {
  const [document, setDocument] = useState<Document | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    const left = new AbortController();
    setDocument(null);
    setTrouble(null);
    if (!passage.document) return undefined;
    fetchDocument(passage.document, left.signal)
      .then(setDocument)
      .catch((error: unknown) => {
        if (left.signal.aborted) return;
        if (error instanceof TokenMissing) locked();
        setTrouble(told(error));
      });
    return () => left.abort();
  }, [passage.document, locked, round]);
  return (
    <div className="document">
      <p className="aside path">{folderOf(passage.path)}</p>
      {trouble && (
        <div className="notice bad" role="alert">
          <p>{trouble}</p>
          <button type="button" className="quiet" onClick={() => setRound(round + 1)}>
            Try again
          </button>
        </div>
      )}
      {!document && <Loose passage={passage} isWaiting={!trouble && !!passage.document} />}
      {document && <Opened key={`${passage.document}.${passage.text}`} document={document} passage={passage} />}
    </div>
  );
}

/** The passage as it was cited, where its document is not here (yet). */
function Loose({ passage, isWaiting }: { passage: Passage; isWaiting: boolean }): ReactNode {
  return (
    <>
      {isWaiting && <p className="waiting">Opening {fileName(passage.path)}</p>}
      <blockquote dir="auto">{passage.text || passage.quote}</blockquote>
    </>
  );
}

function Opened({ document, passage }: { document: Document; passage: Passage }): ReactNode {
  const [page, setPage] = useState(passage.page ?? document.pages?.[0]?.page ?? 1);
  const isPdf = document.media_type === "application/pdf" || /\.pdf$/i.test(document.path);
  const shown = document.pages?.find((one) => one.page === page);
  const isHere = !document.pages || page === passage.page;
  return (
    <>
      {document.pages && (
        <nav className="pages" aria-label="Pages">
          <Turner to={page - 1} label="Previous page" sign="left" document={document} turn={setPage} />
          <span aria-live="polite">
            Page {page} of {document.pages.at(-1)?.page}
          </span>
          <Turner to={page + 1} label="Next page" sign="right" document={document} turn={setPage} />
          {isPdf && <PdfButton id={document.document} page={page} />}
        </nav>
      )}
      <Lines
        key={page}
        text={shown ? flowed(shown.text) : document.text}

        passage={isHere ? passage : null}
        isNumbered={!document.pages && passage.start_line !== null}
        isCode={CODE.test(document.path)}
      />
    </>
  );
}

interface Turning {
  to: number;
  label: string;
  sign: "left" | "right";
  document: Document;
  turn: (page: number) => void;
}

function Turner({ to, label, sign, document, turn }: Turning): ReactNode {
  const isThere = document.pages?.some((one) => one.page === to) ?? false;
  return (
    <button type="button" className="icon" aria-label={label} disabled={!isThere} onClick={() => turn(to)}>
      <Icon name={sign} />
    </button>
  );
}

/** The file itself, in a tab of the browser's own viewer: from bytes, so that a token can be sent. */
function PdfButton({ id, page }: { id: string; page: number }): ReactNode {
  const [trouble, setTrouble] = useState<string | null>(null);

  async function show(): Promise<void> {
    // Opened at once: after the download the browser would take it for a pop-up.
    const tab = window.open("", "_blank");
    if (!tab) return setTrouble("The browser did not allow a new tab.");
    tab.opener = null;
    try {
      // Whatever the file is, it is shown as a PDF and nothing else.
      const url = URL.createObjectURL(new Blob([await file(id)], { type: "application/pdf" }));
      tab.location.replace(`${url}#page=${page}`);
      setTrouble(null);
    } catch (error) {
      tab.close();
      setTrouble(told(error));
    }
  }

  return (
    <>
      <button type="button" className="quiet" onClick={() => void show()}>
        Open the PDF at page {page}
      </button>
      {trouble && <span role="alert">{trouble}</span>}
    </>
  );
}

interface Shown {
  text: string;
  passage: Passage | null;
  isNumbered: boolean;
  isCode: boolean;
}

function Lines({ text, passage, isNumbered, isCode }: Shown): ReactNode {
  const { lines, starts } = useMemo(() => split(text), [text]);
  const { first, last, quote } = useMemo(() => placed(text, starts, passage), [text, starts, passage]);
  const [from, setFrom] = useState(Math.max(0, first - AROUND));
  const [to, setTo] = useState(Math.min(lines.length, last + AROUND));
  const marked = useRef<HTMLLIElement>(null);
  useEffect(() => {
    marked.current?.scrollIntoView({ block: "center" });
  }, []);
  return (
    <>
      {passage && last === 0 && (
        <p className="notice">The passage does not stand here in these words: the file was read again since.</p>
      )}
      {from > 0 && <More lines={from} where="above" show={() => setFrom(0)} />}
      <ol className={["lines", isNumbered && "numbered", isCode && "code"].filter(Boolean).join(" ")} start={from + 1} dir="auto">
        {lines.slice(from, to).map((line, n) => {
          const at = from + n;
          const isMarked = at >= first && at < last;
          return (
            <li
              key={at}
              value={at + 1}
              className={isMarked ? "marked" : undefined}
              ref={isMarked && at === Math.floor((first + last - 1) / 2) ? marked : undefined}
            >
              <Line text={line} start={starts[at] ?? 0} quote={quote} />
            </li>
          );
        })}
      </ol>
      {to < lines.length && <More lines={lines.length - to} where="below" show={() => setTo(lines.length)} />}
    </>
  );
}

function Line({ text, start, quote }: { text: string; start: number; quote: Span | null }): ReactNode {
  const from = Math.max(0, (quote?.from ?? 0) - start);
  const to = Math.min(text.length, (quote?.to ?? 0) - start);
  // An empty line still has its height.
  if (!quote || from >= to) return text || "\u200b";
  return (
    <>
      {text.slice(0, from)}
      <mark>{text.slice(from, to)}</mark>
      {text.slice(to)}
    </>
  );
}

function More({ lines, where, show }: { lines: number; where: string; show: () => void }): ReactNode {
  return (
    <button type="button" className="quiet more" onClick={show}>
      Show {count(lines, "line")} {where}
    </button>
  );
}

const FULL = 0.8;

/** A page's text without the breaks of its full lines, which are the paper's: a short line ends a paragraph or row. */
function flowed(page: string): string {
  const lines = page.trim().split(/\r\n|\n|\r/);
  const longest = Math.max(...lines.map((line) => line.length));
  return lines.map((line) => line + (line.length >= FULL * longest ? " " : "\n")).join("").trimEnd();
}

function split(text: string): { lines: string[]; starts: number[] } {
  const lines: string[] = [];
  const starts: number[] = [];
  let start = 0;
  for (const end of text.matchAll(/\r\n|\n|\r|$/g)) {
    lines.push(text.slice(start, end.index));
    starts.push(start);
    start = end.index + end[0].length;
  }
  if (lines.length > 1 && !lines.at(-1)) lines.pop();
  return { lines, starts };
}

/** The passage's lines, [first, last) from 0, and its quote in the text. `last` is 0 where it is not found. */
function placed(text: string, starts: number[], passage: Passage | null): { first: number; last: number; quote: Span | null } {
  if (!passage) return { first: 0, last: 0, quote: null };
  const numbered = passage.page === null && passage.start_line !== null ? passage.start_line - 1 : null;
  const quoteFrom = starts[numbered ?? 0] ?? 0;
  const whole = passage.text ? locate(text, passage.text, quoteFrom) : null;
  const quote = passage.quote ? locate(text, passage.quote, whole?.from ?? quoteFrom) : null;
  if (numbered !== null && numbered < starts.length) {
    return { first: numbered, last: Math.min(starts.length, passage.end_line ?? numbered + 1), quote };
  }
  const span = whole ?? quote;
  if (!span) return { first: 0, last: 0, quote: null };
  return { first: lineOf(starts, span.from), last: lineOf(starts, span.to - 1) + 1, quote };
}

function lineOf(starts: number[], at: number): number {
  return starts.findLastIndex((start) => start <= at);
}

function told(error: unknown): string {
  if (error instanceof Refused && error.status === 404) {
    return "This document is not in the index any more: it was moved, deleted or left out.";
  }
  return error instanceof Error ? error.message : String(error);
}
