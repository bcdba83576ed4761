// A small part of Markdown, for text that nobody vouches for: paragraphs, lists, headings as bold lines, bold, code.
// It makes text nodes and never a link, a picture or HTML: what it does not know stays as it was written.

import type { ReactNode } from "react";

type Mark = (n: number, key: string) => ReactNode;

interface Item {
  text: string;
  number: number | null;
}

/** `mark` draws [n], or gives null where there is no such source. */
export function Markdown({ text, mark }: { text: string; mark: Mark }): ReactNode {
  const blocks: ReactNode[] = [];
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? "";
    const key = String(at);
    const fence = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (fence) {
      const end = lines.findIndex((other, n) => n > at && other.trim().startsWith(fence));
      const stop = end < 0 ? lines.length : end;
      blocks.push(
        <pre key={key}>
          <code>{lines.slice(at + 1, stop).join("\n")}</code>
        </pre>,
      );
      at = stop + 1;
    } else if (itemOf(line)) {
      const items: Item[] = [];
      for (let item = itemOf(line); item; item = itemOf(lines[at] ?? "")) {
        at++;
        while (/^\s{2,}\S/.test(lines[at] ?? "") && !itemOf(lines[at] ?? "")) item.text += ` ${lines[at++]?.trim()}`;
        items.push(item);
      }
      blocks.push(<List key={key} items={items} mark={mark} />);
    } else if (!line.trim()) {
      at++;
    } else if (/^#{1,6}\s/.test(line)) {
      blocks.push(
        <p key={key} className="heading">
          {inline(line.replace(/^#+\s+/, ""), mark)}
        </p>,
      );
      at++;
    } else {
      const start = at;
      while (at < lines.length && lines[at]?.trim() && (at === start || !startsBlock(lines[at] ?? ""))) at++;
      blocks.push(<p key={key}>{inline(lines.slice(start, at).join("\n"), mark)}</p>);
    }
  }
  return blocks;
}

function List({ items, mark }: { items: Item[]; mark: Mark }): ReactNode {
  const rows = items.map((item, n) => <li key={n}>{inline(item.text, mark)}</li>);
  const first = items[0]?.number ?? null;
  return first === null ? <ul>{rows}</ul> : <ol start={first}>{rows}</ol>;
}

function itemOf(line: string): Item | null {
  const bullet = /^\s{0,6}[-*+•]\s+(.*)$/.exec(line);
  if (bullet) return { text: bullet[1] ?? "", number: null };
  const numbered = /^\s{0,6}(\d{1,4})[.)]\s+(.*)$/.exec(line);
  return numbered ? { text: numbered[2] ?? "", number: Number(numbered[1]) } : null;
}

function startsBlock(line: string): boolean {
  return /^\s*(```|~~~)/.test(line) || /^#{1,6}\s/.test(line) || itemOf(line) !== null;
}

const INLINE = /(`+)([^\n]+?)\1(?!`)|\*\*(?=\S)([^\n]+?)\*\*|\[(\d{1,3})\](?!\()/g;

function inline(text: string, mark: Mark, depth = 0): ReactNode[] {
  const out: ReactNode[] = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const key = `${depth}.${found.index}`;
    let node: ReactNode = null;
    if (found[2] !== undefined) node = <code key={key}>{found[2]}</code>;
    else if (found[3] !== undefined && depth === 0) node = <strong key={key}>{inline(found[3], mark, 1)}</strong>;
    else if (found[4] !== undefined) node = mark(Number(found[4]), key);
    if (node === null) continue;
    out.push(text.slice(end, found.index), node);
    end = found.index + found[0].length;
  }
  out.push(text.slice(end));
  return out;
}
