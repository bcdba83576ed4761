"""Spans become traces that a person can audit, in Phoenix or any OTLP backend.

The rooms make spans with the OpenTelemetry API alone and import nothing from here; an entry point opens
`traces.tracing` (or `phoenix.traced_by_phoenix`), and without it every span is a no-op. One trace for one ask
or search, in the shape that lights up Phoenix's own views (OpenInference's names):

    ask                       TOOL       tool.name, input.value (the arguments as JSON), output.value
    └── answer                CHAIN      input.value (the question), output.value (the answer), tandem.{pending, as_of}
        ├── retrieve          RETRIEVER  input.value, retrieval.documents.N.document.{id, content, score, metadata},
        │   │                            tandem.relevances, tandem.filters (as JSON, where there are some)
        │   ├── embed query   EMBEDDING  embedding.model_name, embedding.embeddings.N.embedding.text
        │   └── rerank        RERANKER   reranker.{query, model_name, input_documents, output_documents}
        ├── look in the cache CHAIN      cache.decision: "reused", or why not
        ├── wait in queue     CHAIN      tandem.queue_wait_ms
        ├── generate          LLM        llm.model_name, llm.finish_reason, input.value, output.value,
        │                                llm.input_messages.N.message.{role, content},
        │                                llm.output_messages.N.message.{role, content},
        │                                llm.token_count.{prompt, completion, total}, gen_ai.* where there is a name
        └── check citations   EVALUATOR  input.value (the answer), output.value (each sentence and its support),
                                         tandem.{grounded, claims, cited, supports}

A search alone is TOOL -> RETRIEVER -> EMBEDDING; over plain HTTP there is no TOOL. An answer out of the cache ends
behind it with its check. An engine that failed before it said a word leaves its `generate` beside that of the next
one. On every span stand openinference.span.kind (the column above) and session.id: the chat that the caller named,
else its connection over MCP. `metadata` is a JSON string; the span's status is OK at its end; an error is status
ERROR with the recorded exception where one was raised; what was given up in the middle has no status, and Phoenix
calls it unset. Values may be cut by whoever sets them, never here; a stream's pieces are no spans. A search sets its
documents as one attribute, `retrieval.documents`, of which `unfolding` makes those above before it is sent.

One trace for one run over the folders that found something to do, and one for each time that an index grows:

    index, or grow            CHAIN      tandem.{read, failed, chunks, embedded, reused, refused, seconds}; where an
    │                                    index came to its end also tandem.{added, changed, moved, deleted}
    ├── embed chunks          EMBEDDING  embedding.model_name, tandem.{texts, refused}: the first 100 batches
    │   └── embed             EMBEDDING  a worker's, where workers embed: embedding.model_name, tandem.texts
    └── index file            CHAIN      file.{path, size}, tandem.{chunks, read_ms, embed_ms}: the first 100 that
                                         failed and, of those that took more than a second, the 20 slowest

The root counts all of them, whatever has a span; no text of a file stands on any. A file that failed is status ERROR
with the reason that `tandem status` shows. They belong to no session. `embed` stands below `embed query` likewise,
where workers embed queries; what it counts is counted above it too.

What was measured stands on the spans as numbers; `evaluating` makes Phoenix's annotations of them, which follow the
spans: `relevance` of each passage (tandem.relevances), `groundedness` and each `citation` (tandem.{grounded, claims,
cited, supports}), `freshness` (tandem.pending). What a person thinks of an answer is `rating`, on the trace itself:
Phoenix shows it on its pages of traces and sessions. The last one counts.

`wait in queue` and `generate` are the worker's: the job's metadata carries `traceparent`, written by propagate.inject
inside `answer` and read by propagate.extract around `generate`. Both processes name the same project, for Phoenix
files a trace under one.

What a judge costs is a trace of its own: `judge` EVALUATOR (input.value, tandem.judged_trace) -> `wait in queue`,
`generate`, without a session. Its verdicts are `relevance (judge)` and `groundedness (judge)` of the answer's trace.
"""
