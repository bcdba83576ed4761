// What stands beside the conversation; on a phone, over it.

import { type ReactNode, useEffect, useRef } from "react";
import { DocumentView, type Passage } from "./document-view";
import { Icon } from "./icon";
import type { Polled } from "./polled";
import { SearchView } from "./search-view";
import { StatusView } from "./status-view";
import { fileName, spot } from "./words";

export type Opened =
  | { what: "search" | "status" }
  | { what: "document"; passage: Passage; from: "search" | null };

interface Shown {
  opened: Opened;
  polled: Polled;
  search: Parameters<typeof SearchView>[0];
  back: () => void;
  close: () => void;
  locked: () => void;
}

export function Panel({ opened, polled, search, back, close, locked }: Shown): ReactNode {
  const title = useRef<HTMLHeadingElement>(null);
  // A search begins in its field.
  useEffect(() => {
    if (opened.what !== "search") title.current?.focus();
  }, [opened]);
  return (
    <aside className="panel" aria-labelledby="panel-title">
      <header>
        {opened.what === "document" && opened.from && (
          <button type="button" className="icon" aria-label="Back to the search" onClick={back}>
            <Icon name="left" />
          </button>
        )}
        <div className="title">
          <h2 id="panel-title" ref={title} tabIndex={-1}>
            {titleOf(opened)}
          </h2>
          {opened.what === "document" && (
            <p className="where">
              {spot(opened.passage) && <span>{spot(opened.passage)}</span>}
              {opened.passage.heading && <span>{opened.passage.heading}</span>}
            </p>
          )}
        </div>
        <button type="button" className="icon" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <div className="inside">
        {opened.what === "search" && <SearchView {...search} />}
        {opened.what === "status" && <StatusView polled={polled} />}
        {opened.what === "document" && <DocumentView passage={opened.passage} locked={locked} />}
      </div>
    </aside>
  );
}

function titleOf(opened: Opened): string {
  if (opened.what === "document") return fileName(opened.passage.path);
  return opened.what === "search" ? "Search" : "The index";
}
