"""Spans become traces that a person can audit, in Phoenix or any OTLP backend."""
