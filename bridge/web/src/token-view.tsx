// Asks for the daemon's token: kept in this tab's session and nowhere else.

import { type ReactNode, useEffect, useRef, useState } from "react";
import { giveToken } from "./api";
import { kept } from "./kept";

export function TokenView({ given }: { given: () => void }): ReactNode {
  const [token, setToken] = useState("");
  const dialog = useRef<HTMLDialogElement>(null);
  const [wasWrong] = useState(() => kept("token") !== null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="token-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!token.trim()) return;
          giveToken(token.trim());
          given();
        }}
      >
        <h2 id="token-title">Tandem asks for its token</h2>
        <p>
          It is the value of <code>TANDEM_TOKEN</code> on the machine where Tandem runs. This tab keeps it until it is closed.
        </p>
        {wasWrong && (
          <p className="notice bad" role="alert">
            The token it was given is not the right one.
          </p>
        )}
        <input
          type="password"
          className="field"
          aria-label="Token"
          autoComplete="off"
          autoFocus
          value={token}
          onChange={(event) => setToken(event.target.value)}
        />
        <button type="submit" className="main">
          Use this token
        </button>
      </form>
    </dialog>
  );
}
