#!/bin/sh
# Each peer in an environment of its own: they want different versions of the same packages. `install.sh [NAME…]`, default: all.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${TANDEM_BENCH_PEERS:-$HOME/.cache/tandem-bench}
for name in ${*:-llamaindex haystack txtai chroma haiku mcp-server-qdrant}; do
    python=${PYTHON:-python3}
    [ "$name" != haiku ] || python=${PYTHON312:-python3.12}
    "$python" -m venv "$root/peers-$name"
    "$root/peers-$name/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements-$name.txt"
done
