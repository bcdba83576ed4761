"""Spans become traces that a person can audit, in Phoenix or any OTLP backend.

The rooms make spans with the OpenTelemetry API alone and import nothing from here; an entry point opens
`traces.tracing` (or `phoenix.traced_by_phoenix`), and without it every span is a no-op. One trace for one ask
or search, in the shape that lights up Phoenix's own views (OpenInference's names):

    ask                     TOOL        tool.name, input.value (the arguments as JSON), output.value
    └── answer              CHAIN       input.value (the question), output.value (the answer)
        ├── retrieve        RETRIEVER   input.value, retrieval.documents.N.document.{id, content, score, metadata}
        │   └── embed query EMBEDDING   embedding.model_name, embedding.embeddings.N.embedding.text
        └── generate        LLM         llm.model_name, llm.finish_reason, input.value, output.value,
                                        llm.input_messages.N.message.{role, content},
                                        llm.output_messages.N.message.{role, content},
                                        llm.token_count.{prompt, completion, total}

A search alone is TOOL -> RETRIEVER -> EMBEDDING; over plain HTTP there is no TOOL. An engine that failed before
it said a word leaves its `generate` beside that of the next one. On every span stand openinference.span.kind (the
column above) and, where the caller has a session, session.id. `metadata` is a JSON string; the span's status is OK
at its end; an error is status ERROR with the recorded exception where one was raised; what was given up in the
middle has no status, and Phoenix calls it unset. Values may be cut by whoever sets them, never here; a stream's
pieces are no spans.

A batch of texts for a worker is one span there, `embed` (EMBEDDING: embedding.model_name, tandem.texts), below the span
that asked for it: a query's. What an index asks for is a trace of its own, without the texts.

`generate` runs in the worker: the job's metadata carries `traceparent`, written by propagate.inject inside
`answer` and read by propagate.extract around `generate`. Both processes name the same project, for Phoenix
files a trace under one.
"""
