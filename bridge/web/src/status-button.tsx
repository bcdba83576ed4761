// The state of the index in a few words, always in sight.

import type { ReactNode } from "react";
import type { Polled } from "./polled";
import { count, summary } from "./words";

export function StatusButton({ polled, open }: { polled: Polled; open: () => void }): ReactNode {
  const { status, trouble } = polled;
  const isBad = trouble === "away" || !!status?.warnings.length;
  const isBusy = !!status && (status.state === "indexing" || status.pending > 0);
  const tone = isBad ? "bad" : isBusy ? "busy" : status?.failed.length ? "doubt" : status ? "good" : "";
  const words = trouble === "away" ? "Tandem does not answer" : status ? summary(status) : "Connecting";
  const failed = trouble !== "away" && status?.failed.length ? `${count(status.failed.length, "file")} failed` : "";
  return (
    <button type="button" className={`state ${tone}`} onClick={open} aria-label={`Index: ${[words, failed].filter(Boolean).join(", ")}`}>
      <span className="dot" aria-hidden="true" />
      <span className="words">{words}</span>
      {failed && <span className="failed">{failed}</span>}
    </button>
  );
}
