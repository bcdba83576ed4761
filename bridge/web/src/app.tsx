// The whole page: the conversation, and beside it a panel with a passage, a search or the state of the index.

import { type ReactNode, type RefObject, useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Citation, Hit } from "./api";
import { current, goOn, hurry, startOver, stop, subscribe } from "./chat";
import { Composer } from "./composer";
import type { Passage } from "./document-view";
import { Panel, type Opened } from "./panel";
import { usePolled } from "./polled";
import { StatusButton } from "./status-button";
import { TokenView } from "./token-view";
import { TurnView } from "./turn-view";
import { isUnderWay } from "./turn";
import { Welcome } from "./welcome";

const NEAR_END_PX = 120;
const WIDE = matchMedia("(min-width: 62rem)");

export function App(): ReactNode {
  const chat = useSyncExternalStore(subscribe, current);
  const [opened, setOpened] = useState<Opened | null>(null);
  const [query, setQuery] = useState("");
  const [within, setWithin] = useState("");
  const [isLocked, setLocked] = useState(false);
  const [round, setRound] = useState(0);
  const polled = usePolled(round);
  const isWide = useSyncExternalStore(onWidth, () => WIDE.matches);
  const field = useRef<HTMLTextAreaElement>(null);
  const opener = useRef<Element | null>(null);
  const talk = useRef<HTMLElement>(null);
  const last = chat.turns.at(-1);
  const running = isUnderWay(last);

  const locked = useCallback(() => setLocked(true), []);
  useEffect(goOn, []);
  useEffect(() => {
    if (polled.trouble === "token" || last?.phase.name === "locked") setLocked(true);
  }, [polled, last?.phase.name]);
  useFollowedEnd(talk, chat.turns.length, last?.text);

  function open(next: Opened): void {
    if (!opened) opener.current = document.activeElement;
    setOpened(next);
  }

  const close = useCallback(() => {
    setOpened(null);
    const back = opener.current;
    if (back instanceof HTMLElement && back.isConnected && back !== document.body) back.focus();
    else field.current?.focus();
  }, []);

  useEffect(() => {
    function typed(event: KeyboardEvent): void {
      if (event.defaultPrevented || event.isComposing) return;
      const isWriting = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
      if (event.key === "/" && !isWriting && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        if (!opened) opener.current = document.activeElement;
        setOpened({ what: "search" });
        document.querySelector<HTMLElement>(".search input")?.focus();
      } else if (event.key === "Escape") {
        const isInPanel = event.target instanceof Element && event.target.closest(".panel");
        if (running && !isInPanel) void stop();
        else if (opened) close();
      }
    }
    addEventListener("keydown", typed);
    return () => removeEventListener("keydown", typed);
  }, [opened, running, close]);

  return (
    <div className={`page${opened ? " with-panel" : ""}`}>
      <div className="column" inert={!!opened && !isWide}>
        <header className="top">
          <h1>
            <Mark />
            Tandem
          </h1>
          <button type="button" className="look" aria-label="Search your files" onClick={() => open({ what: "search" })}>
            <span>
              Search<span className="rest"> your files</span>
            </span>
            <kbd>/</kbd>
          </button>
          <StatusButton polled={polled} open={() => open({ what: "status" })} />
          {chat.turns.length > 0 && (
            <button
              type="button"
              className="quiet"
              onClick={() => {
                startOver();
                setOpened(null);
                field.current?.focus();
              }}
            >
              New chat
            </button>
          )}
        </header>
        <main ref={talk} tabIndex={-1} aria-label="Conversation">
          <div className="talk" role="log" aria-live="polite" aria-busy={running}>
            {chat.turns.length === 0 && <Welcome polled={polled} />}
            {chat.turns.map((turn) => (
              <TurnView
                key={turn.key}
                turn={turn}
                isLast={turn === last}
                open={(citation) => open({ what: "document", passage: cited(citation), from: null })}
                tracesUrl={polled.status?.traces_url ?? null}
              />
            ))}
          </div>
        </main>
        <Composer
          field={field}
          isUnderWay={running}
          isFirst={chat.turns.length === 0}
          roots={polled.status?.roots ?? []}
          within={within}
          setWithin={setWithin}
        />
      </div>
      {opened && (
        <Panel
          opened={opened}
          polled={polled}
          search={{
            query,
            setQuery,
            within: within.trim(),
            open: (hit) => open({ what: "document", passage: hitPassage(hit), from: "search" }),
            locked,
          }}
          back={() => setOpened({ what: "search" })}
          close={close}
          locked={locked}
        />
      )}
      {isLocked && (
        <TokenView
          key={round}
          given={() => {
            setLocked(false);
            setRound(round + 1);
            hurry();
          }}
        />
      )}
    </div>
  );
}

function cited(citation: Citation): Passage {
  return { ...citation, text: citation.passage ?? "" };
}

function hitPassage(hit: Hit): Passage {
  return { ...hit, quote: "" };
}

function onWidth(changed: () => void): () => void {
  WIDE.addEventListener("change", changed);
  return () => WIDE.removeEventListener("change", changed);
}

/**
 * Stays at the end of the text that streams in, unless the reader has scrolled away from it; what is put below it when it
 * is whole moves nothing. A new question is always shown.
 */
function useFollowedEnd(box: RefObject<HTMLElement | null>, turns: number, text: string | undefined): void {
  const isNear = useRef(true);
  useEffect(() => {
    const main = box.current;
    if (!main) return undefined;
    const looked = (): void => {
      isNear.current = main.scrollHeight - main.scrollTop - main.clientHeight < NEAR_END_PX;
    };
    main.addEventListener("scroll", looked, { passive: true });
    return () => main.removeEventListener("scroll", looked);
  }, [box]);
  useEffect(() => {
    isNear.current = true;
  }, [turns]);
  useEffect(() => {
    if (isNear.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [box, turns, text]);
}

function Mark(): ReactNode {
  return (
    <svg className="mark" viewBox="0 0 32 20" aria-hidden="true">
      <circle cx="8" cy="12" r="6" />
      <circle cx="24" cy="12" r="6" />
      <path d="M8 12 13 3h7l4 9M13 3l5 9h6" />
    </svg>
  );
}
