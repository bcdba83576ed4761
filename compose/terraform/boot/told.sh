#!/bin/bash
# What the queue's machine may ask of a worker that it made: its key in /root/.ssh/authorized_keys runs this and no other.
set -euo pipefail

case "${SSH_ORIGINAL_COMMAND:-}" in
  # Its key is the last thing that the first start writes.
  ready) ;;
  join) exec tandem-join worker ;;
  # Ends when the jobs under way are finished or handed back.
  drain) systemctl stop tandem-worker.service ;;
  *)
    echo "expected ready, join or drain" >&2
    exit 2
    ;;
esac
