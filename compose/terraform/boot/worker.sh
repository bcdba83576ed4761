#!/bin/bash
# A GPU worker: vLLM, which takes jobs from the queue once this machine is paired with it.
set -euo pipefail
# shellcheck source=/dev/null
. /etc/tandem/machine

/usr/local/lib/tandem/install --torch-backend auto "$PACKAGE"

if [ ! -s /etc/tandem/worker.yaml ]; then
  tandem worker --print-config > /etc/tandem/worker.yaml
fi

# Who made this machine, where Terraform did not, may do three things here: `told` names them.
if [ -n "$QUEUE_KEY" ]; then
  install -d -m 700 /root/.ssh
  printf 'restrict,from="%s",command="/usr/local/lib/tandem/told" %s\n' "$QUEUE_CIDR" "$QUEUE_KEY" \
    >> /root/.ssh/authorized_keys
fi
