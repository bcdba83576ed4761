#!/bin/sh
# What a newcomer waits for: a fresh clone with empty caches, `make up`, the first cited answer, `make test`.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap '.venv/bin/tandem down || true; wait; rm -rf "$place"' EXIT
export PIP_CACHE_DIR="$place/pip" XDG_CACHE_HOME="$place/cache" XDG_DATA_HOME="$place/share" PIP_DISABLE_PIP_VERSION_CHECK=1
git clone --quiet "$here" "$place/tandem"
cd "$place/tandem"
start=$(date +%s)
PORT=0 make up >"$place/up.log" 2>&1 &
up=$!
until [ -x .venv/bin/tandem ] && .venv/bin/tandem status --json 2>/dev/null | grep -q '"documents":12'; do
    kill -0 "$up" || { cat "$place/up.log"; exit 1; }
    sleep 1
done
answer=$(.venv/bin/tandem ask "How long does the backup keep snapshots?" 2>&1)
answered=$(($(date +%s) - start))
printf '%s\n' "$answer"
printf '%s' "$answer" | grep -q '\[1\] .*examples/docs/'
make test
tested=$(($(date +%s) - start))
printf '{"first_answer_s": %s, "and_make_test_s": %s, "venv_mb": %s, "all_mb": %s, "torch": %s}\n' \
    "$answered" "$tested" "$(du -sm .venv | cut -f1)" "$(du -sm "$place" --exclude="$place/pip" | cut -f1)" \
    "$(test -d .venv/lib/python3*/site-packages/torch && echo true || echo false)"
