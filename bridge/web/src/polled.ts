// The state of the index, asked for again and again while somebody looks.

import { useEffect, useState } from "react";
import { type Status, TokenMissing, status } from "./api";

const BUSY_MS = 2000;
const QUIET_MS = 10_000;

export interface Polled {
  status: Status | null;
  /** Why the last call gave none. */
  trouble: "away" | "token" | null;
}

/** Every 2 s while the index works, 10 s otherwise, never while the tab is hidden. A new `round` asks at once. */
export function usePolled(round: number): Polled {
  const [polled, setPolled] = useState<Polled>({ status: null, trouble: null });
  useEffect(() => {
    const left = new AbortController();
    let timer: number | undefined;
    let asking = false;

    async function poll(): Promise<void> {
      if (asking || document.hidden) return;
      clearTimeout(timer);
      asking = true;
      let wait = QUIET_MS;
      try {
        const now = await status(left.signal);
        if (now.state === "indexing" || now.pending > 0 || now.growing) wait = BUSY_MS;
        setPolled({ status: now, trouble: null });
      } catch (error) {
        if (left.signal.aborted) return;
        setPolled((before) => ({ ...before, trouble: error instanceof TokenMissing ? "token" : "away" }));
      } finally {
        asking = false;
      }
      timer = setTimeout(() => void poll(), wait);
    }

    const look = (): void => void poll();
    look();
    document.addEventListener("visibilitychange", look);
    addEventListener("online", look);
    return () => {
      left.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
      removeEventListener("online", look);
    };
  }, [round]);
  return polled;
}

/** The time, once a second while `ticking`. */
export function useNow(ticking: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!ticking) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [ticking]);
  return now;
}
