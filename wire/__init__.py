"""What the processes say to each other: a job goes one way, replies come back. PROTOCOL: `wire.messages`."""
