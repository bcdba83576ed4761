// What the index holds, how far it is, and what is wrong with it.

import type { ReactNode } from "react";
import type { FileReason, Status } from "./api";
import type { Polled } from "./polled";
import { capital, count, duration, fileName, folderOf, freshness, summary } from "./words";

export function StatusView({ polled }: { polled: Polled }): ReactNode {
  const { status, trouble } = polled;
  return (
    <div className="status">
      {trouble === "away" && (
        <p className="notice bad" role="alert">
          Tandem does not answer. Start it with <code>tandem up</code>; this page finds it again by itself.
        </p>
      )}
      {status && <Known status={status} />}
    </div>
  );
}

function Known({ status }: { status: Status }): ReactNode {
  const workers = status.workers ? `, ${count(status.workers, "worker")}` : "";
  const facts: [string, string][] = [
    ["Holds", `${count(status.documents, "document")}, ${count(status.chunks, "passage")}`],
    ["Freshness", capital(freshness(status))],
    ["Answers", status.engine + workers],
    ["Embedding", status.embedding],
    ["Store", status.store],
  ];
  return (
    <>
      <Progress status={status} />
      {status.warnings.map((warning) => (
        <p key={warning} className="notice bad">
          {capital(warning)}
        </p>
      ))}
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
        <div>
          <dt>Folders</dt>
          <dd>
            {status.roots.length ? status.roots.map((root) => <div key={root}>{root}</div>) : "none yet: tandem index FOLDER"}
          </dd>
        </div>
      </dl>
      <Files title="Failed files" files={status.failed} none="No file failed." />
      {status.left_out.length > 0 && <Files title="Left out" files={status.left_out} none="" />}
    </>
  );
}

function Progress({ status }: { status: Status }): ReactNode {
  const { progress, growing } = status;
  return (
    <div className="progress" aria-live="polite">
      <p>
        <b>{status.state === "idle" && !status.pending ? "All in step with your files" : summary(status)}</b>
      </p>
      {progress && progress.files > 0 && (
        <>
          <progress max={progress.files} value={progress.files_done} aria-label="Files indexed" />
          <p className="aside">
            {[
              progress.chunks > 0 && `${count(progress.chunks, "passage")}`,
              progress.chunks_per_s > 0 && `${Math.round(progress.chunks_per_s)} a second`,
              progress.seconds_left !== null && `about ${duration(progress.seconds_left * 1000)} left`,
            ]
              .filter(Boolean)
              .join(" · ")}
          </p>
          {progress.reading && <p className="aside path">{progress.reading}</p>}
        </>
      )}
      {growing && (
        <p className="aside">
          Beside it an index with {growing.embedding} in {growing.store} is built: {count(growing.chunks_left, "passage")} to go.
        </p>
      )}
    </div>
  );
}

function Files({ title, files, none }: { title: string; files: FileReason[]; none: string }): ReactNode {
  return (
    <section className="files">
      <h3>
        {title}
        {files.length > 0 && <span className="tally">{files.length}</span>}
      </h3>
      {files.length === 0 && <p className="aside">{none}</p>}
      <ul>
        {files.map((file) => (
          <li key={file.path}>
            <b>{fileName(file.path)}</b>
            <span className="path">{folderOf(file.path)}</span>
            <span className="reason">{capital(file.reason)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
