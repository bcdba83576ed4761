#!/bin/bash
# The queue's machine: Redis behind TLS, its certificate and users made here, and what makes GPU workers when there is work.
set -euo pipefail
# shellcheck source=/dev/null
. /etc/tandem/machine

address() {
  curl --silent --show-error --fail --retry 10 --retry-connrefused \
    "http://169.254.169.254/metadata/v1/interfaces/$1/0/ipv4/address"
}

# The distribution's own service, which would listen without TLS, never starts: `tandem queue` runs its program.
systemctl mask redis-server.service
# A first start is also when the system looks for upgrades, and holds the lock.
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq redis-server

/usr/local/lib/tandem/install "$PACKAGE"

words=(--address "$(address private)")
if [ "$IS_PUBLIC" = true ]; then
  words+=(--address "$(address public)")
fi
tandem service install queue --system -- "${words[@]}"

# With this key, which stays here, the machines that this one makes are paired and ended.
if [ ! -e /etc/tandem/scaling.key ]; then
  ssh-keygen -q -t ed25519 -N '' -C tandem-scaling -f /etc/tandem/scaling.key
fi
systemctl daemon-reload
systemctl enable --now tandem-scaling.timer
