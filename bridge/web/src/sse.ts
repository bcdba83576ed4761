// Server-sent events out of a response's body. EventSource only does GET, and questions are posted.

export interface Sent {
  /** The last id named on the stream so far. */
  id: string | null;
  data: string;
}

/** Events as they come; a last one without its blank line is dropped. Throws what reading throws. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<Sent> {
  let id: string | null = null;
  let data: string[] = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length) yield { id, data: data.join("\n") };
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "id" && !value.includes("\0")) id = value;
  }
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      // A CR at the very end may be the first half of a CRLF: it waits for what comes next.
      const held = rest.endsWith("\r") ? "\r" : "";
      const parts = rest.slice(0, rest.length - held.length).split(/\r\n|\n|\r/);
      rest = (parts.pop() ?? "") + held;
      yield* parts;
    }
  } finally {
    // Whoever stops listening early hangs up.
    reader.cancel().catch(() => undefined);
  }
}
