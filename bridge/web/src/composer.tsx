// Where questions are typed.

import { type KeyboardEvent, type ReactNode, type RefObject, useState } from "react";
import { begin, stop } from "./chat";

const LONGEST = 10_000;
const ROWS = 8;

interface Composing {
  field: RefObject<HTMLTextAreaElement | null>;
  isUnderWay: boolean;
  isFirst: boolean;
  roots: string[];
  within: string;
  setWithin: (within: string) => void;
}

export function Composer({ field, isUnderWay, isFirst, roots, within, setWithin }: Composing): ReactNode {
  const [text, setText] = useState("");
  const question = text.trim();

  function send(): void {
    if (!question || isUnderWay) return;
    setText("");
    begin(question, within.trim());
  }

  function typed(event: KeyboardEvent): void {
    // An input method's Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div className="box">
        <textarea
          ref={field}
          aria-label="Your question"
          placeholder={isFirst ? "Ask your files" : "Ask a follow-up, or something new"}
          rows={Math.min(ROWS, text.split("\n").length)}
          maxLength={LONGEST}
          dir="auto"
          autoFocus
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={typed}
        />
        <div className="row">
          <label className="scope">
            <span>in</span>
            <input
              list="folders"
              placeholder="all files"
              title="A folder, or a pattern as in .gitignore: *.md, papers/"
              autoComplete="off"
              spellCheck={false}
              value={within}
              onChange={(event) => setWithin(event.target.value)}
            />
            <datalist id="folders">
              {roots.map((root) => (
                <option key={root} value={root} />
              ))}
            </datalist>
          </label>
          {isUnderWay ? (
            <button type="button" className="main" onClick={() => void stop()}>
              Stop
            </button>
          ) : (
            <button type="submit" className="main" disabled={!question}>
              Ask
            </button>
          )}
        </div>
      </div>
      <p className="keys">
        <kbd>Enter</kbd> asks <kbd>Shift</kbd>+<kbd>Enter</kbd> new line <kbd>/</kbd> searches <kbd>Esc</kbd> stops, closes
      </p>
    </form>
  );
}
