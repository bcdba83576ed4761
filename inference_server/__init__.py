"""Jobs become replies: `worker.work` takes, generates, publishes and acknowledges."""
