// What the reader thinks of an answer, told to whoever keeps its trace.

import { type ReactNode, useState } from "react";
import { Refused, TokenMissing, rate } from "./api";
import { rated } from "./chat";
import { Icon } from "./icon";
import type { Rating, Turn } from "./turn";
import { capital } from "./words";

const CALLED = { up: "Good answer", down: "Bad answer" } as const;

export function Thumbs({ turn, traceId }: { turn: Turn; traceId: string }): ReactNode {
  const [sending, setSending] = useState<Rating | null>(null);
  const [trouble, setTrouble] = useState("");
  const pressed = sending ?? turn.rated;

  async function press(rating: Rating): Promise<void> {
    if (sending || rating === turn.rated) return;
    setSending(rating);
    setTrouble("");
    try {
      await rate(traceId, rating === "up");
      rated(turn.key, rating);
    } catch (error) {
      setTrouble(told(error));
    } finally {
      setSending(null);
    }
  }

  return (
    <div className="thumbs" role="group" aria-label="Was this answer good?">
      {(["up", "down"] as const).map((rating) => (
        <button
          key={rating}
          type="button"
          className="icon"
          aria-label={CALLED[rating]}
          title={CALLED[rating]}
          aria-pressed={pressed === rating}
          onClick={() => void press(rating)}
        >
          <Icon name={rating} />
        </button>
      ))}
      <span role="status">{turn.rated && !sending && !trouble && "Thank you."}</span>
      {trouble && (
        <span className="trouble" role="alert">
          {capital(trouble)}
        </span>
      )}
    </div>
  );
}

function told(error: unknown): string {
  if (error instanceof Refused) return error.message;
  if (error instanceof TokenMissing) return "Tandem asks for its token. Give it, then press again.";
  return "Tandem does not answer, and the rating was not taken. See that it runs (tandem up), then press again.";
}
