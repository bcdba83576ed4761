#!/bin/bash
# tandem-join worker|daemon: takes a pairing code on stdin, so that it is in no list of processes, and starts the service.
set -euo pipefail

case "${1:-}" in
  worker | daemon) ;;
  *)
    echo "expected tandem-join worker, or tandem-join daemon" >&2
    exit 2
    ;;
esac
if ! id tandem > /dev/null 2>&1; then
  echo "Tandem is still being installed here; \`cloud-init status --wait\` ends when it is" >&2
  exit 75
fi
tandem pair -
if [ "$1" = worker ]; then
  # One that runs already still comes in as it was paired before.
  systemctl stop tandem-worker.service 2> /dev/null || true
  tandem service install worker --system -- --engine vllm --config /etc/tandem/worker.yaml
else
  systemctl restart tandem-daemon.service
fi
