// Before the first question: what there is to ask, and how answers can be told apart.

import type { ReactNode } from "react";
import type { Polled } from "./polled";
import { capital, count, freshness } from "./words";

export function Welcome({ polled }: { polled: Polled }): ReactNode {
  const { status } = polled;
  return (
    <section className="welcome">
      <h2>Ask your files.</h2>
      {status && status.documents > 0 && (
        <p>
          {count(status.documents, "document")} with {count(status.chunks, "passage")} are at hand. {capital(freshness(status))}.
        </p>
      )}
      {status && status.documents === 0 && (
        <p>
          {status.roots.length
            ? "Nothing is indexed yet. The state above says how far it is."
            : "No folder is in the index yet. Add one in a terminal: tandem index FOLDER"}
        </p>
      )}
      <ul>
        <li>Each answer names its sources. Open one to read the passage where it stands.</li>
        <li>Each answer says whether its sentences are borne out by the passages it cites.</li>
        <li>A second question in this chat may refer to the first.</li>
      </ul>
    </section>
  );
}
