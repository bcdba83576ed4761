#!/bin/bash
# A gateway: the daemon over /srv/documents, which the load balancer reaches and nobody without a token may ask.
set -euo pipefail
# shellcheck source=/dev/null
. /etc/tandem/machine

/usr/local/lib/tandem/install "$PACKAGE"
mkdir -p /srv/documents

HOST=$(curl --silent --show-error --fail --retry 10 --retry-connrefused \
  http://169.254.169.254/metadata/v1/interfaces/private/0/ipv4/address)
# The owner's, made here: in /etc/tandem/daemon.env, which root alone reads. Others get theirs by `tandem token add NAME`.
TANDEM_TOKEN=$(head -c 32 /dev/urandom | base64 | tr -d '/+=\n')
export HOST PORT TANDEM_TOKEN
tandem service install daemon --system --user tandem -- /srv/documents
