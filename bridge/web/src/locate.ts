// Where a passage stands in its document's text. Pure.

export interface Span {
  from: number;
  to: number;
}

const ENDS = 48;
const SHORTEST = 12;

/** The first place of `wanted` in `text` from `start` on, where white space may differ; null where it is not there. */
export function locate(text: string, wanted: string, start = 0): Span | null {
  const page = squeezed(text, start);
  const needle = squeezed(wanted, 0).text.trim();
  if (!needle) return null;
  const whole = page.text.indexOf(needle);
  if (whole >= 0) return page.span(whole, whole + needle.length);
  if (needle.length < 2 * SHORTEST) return null;
  // Something in the middle differs: its two ends still frame it.
  const head = page.text.indexOf(needle.slice(0, ENDS));
  if (head < 0) return null;
  const tail = page.text.indexOf(needle.slice(-ENDS), head);
  const isNear = tail >= 0 && tail - head < 2 * needle.length;
  return page.span(head, isNear ? tail + Math.min(ENDS, needle.length) : head + Math.min(ENDS, needle.length));
}

function squeezed(text: string, start: number): { text: string; span: (from: number, to: number) => Span } {
  const origins: number[] = [];
  let out = "";
  let gap = true;
  for (let at = start; at < text.length; at++) {
    const char = text.charAt(at);
    const isSpace = /\s/.test(char);
    if (isSpace && gap) continue;
    out += isSpace ? " " : char;
    origins.push(at);
    gap = isSpace;
  }
  return { text: out, span: (from, to) => ({ from: origins[from] ?? 0, to: (origins[to - 1] ?? 0) + 1 }) };
}
