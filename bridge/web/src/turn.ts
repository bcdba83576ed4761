// One question and its answer as they stand: pure, so that a reload finds them as they were.

import type { Citation, Final, Piece } from "./api";

/**
 *   asking -> answering -> done | failed | stopped
 *      \          \-> cut (reconnects at `at`) -> answering
 *       \-> refused (asks again at `at`)
 *   locked: waits for the token
 */
export type Phase =
  | { name: "asking" | "answering" | "locked" | "done" | "stopped" }
  | { name: "refused" | "cut"; why: string; at: number }
  | { name: "failed"; why: string };

export interface Turn {
  key: string;
  question: string;
  within: string;
  request: string | null;
  last: string | null;
  text: string;
  phase: Phase;
  stopping: boolean;
  final: Final | null;
  /** What the reader thinks of it, once the server has it. */
  rated?: Rating;
}

export type Rating = "up" | "down";

export function asked(key: string, question: string, within: string): Turn {
  const phase = { name: "asking" } as const;
  return { key, question, within, request: null, last: null, text: "", phase, stopping: false, final: null };
}

export function isUnderWay(turn: Turn | undefined): boolean {
  return !!turn && !["done", "stopped", "failed"].includes(turn.phase.name);
}

/** The turn with one more event of its stream. */
export function heard(turn: Turn, id: string | null, part: Piece | Final): Turn {
  const last = id ?? turn.last;
  if (!part.is_final) {
    return { ...turn, last, text: turn.text + part.chunk, phase: { name: "answering" } };
  }
  const text = part.answer || turn.text + part.chunk;
  return { ...turn, last, text, final: part, phase: ended(turn, part), stopping: false };
}

export function citations(turn: Turn): Citation[] {
  return turn.final?.citations ?? [];
}

function ended(turn: Turn, final: Final): Phase {
  if (turn.stopping) return { name: "stopped" };
  return final.error ? { name: "failed", why: final.error } : { name: "done" };
}
