#!/bin/sh
# `tandem` of this machine: over the services' folder and as their user, but for the services themselves, which are root's.
export TANDEM_DATA="${TANDEM_DATA:-/var/lib/tandem}"
if [ "$(id -u)" != 0 ] || [ "${1:-}" = service ]; then
  exec /opt/tandem/bin/tandem "$@"
fi
cd "$TANDEM_DATA" || exit 1
export HOME="$TANDEM_DATA"
exec setpriv --reuid=tandem --regid=tandem --init-groups /opt/tandem/bin/tandem "$@"
