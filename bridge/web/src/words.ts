// Figures and places in words.

import type { Freshness, Place, Status } from "./api";

const number = new Intl.NumberFormat();

export function count(n: number, one: string, many = `${one}s`): string {
  return `${number.format(n)} ${n === 1 ? one : many}`;
}

export function fileName(path: string): string {
  return path.split(/[\\/]/).pop() || path;
}

export function folderOf(path: string): string {
  return path.slice(0, path.length - fileName(path).length).replace(/(.)[\\/]$/, "$1");
}

/** "lines 33–41", "page 7". */
export function spot(place: Place): string {
  if (place.page !== null) return `page ${place.page}`;
  const { start_line: start, end_line: end } = place;
  if (start === null) return "";
  return end === null || end === start ? `line ${start}` : `lines ${start}–${end}`;
}

/** The time alone where it is today's. */
export function clock(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString() : time.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export function freshness(fresh: Freshness): string {
  const asOf = fresh.as_of ? `current as of ${clock(fresh.as_of)}` : "not indexed yet";
  return fresh.pending ? `${asOf}, ${count(fresh.pending, "file")} pending` : asOf;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The state of the index in three words or so. */
export function summary(status: Status): string {
  if (status.state === "paused") return "Indexing is paused";
  const { progress } = status;
  if (status.state === "indexing" && progress && progress.files > 0) {
    return `Indexing ${number.format(progress.files_done)} of ${count(progress.files, "file")}`;
  }
  if (status.state === "indexing") return "Looking at your files";
  if (status.pending) return `${count(status.pending, "file")} pending`;
  return count(status.documents, "document");
}
