#!/usr/bin/env bash
# The nightly backup of the workshop's server, started by its timer at 02:40.
# Ends with 0 when both copies are good; anything else turns the dot on the door sign red.
set -euo pipefail

readonly SOURCES=(/tank/shared /tank/calendar /etc)
readonly LOCAL=/mnt/usb/restic
readonly REMOTE=sftp:storagebox:/fern
readonly STAMP=/var/lib/backup/last-good

# In step with network-and-backups.md, please.
readonly KEEP=(--keep-daily 14 --keep-weekly 8 --keep-monthly 18)

save() {
  local repository=$1
  restic --repo "$repository" backup "${SOURCES[@]}" \
    --exclude '/tank/shared/scratch' \
    --exclude-larger-than 500M \
    --one-file-system
  restic --repo "$repository" forget "${KEEP[@]}" --prune
}

check() {
  # A different twelfth of the data each month: the whole of it is read once a year.
  local part
  part=$(date +%-m)
  if [ "$(date +%d)" = 01 ]; then
    restic --repo "$1" check --read-data-subset "$part/12"
  fi
}

if ! mountpoint --quiet /mnt/usb; then
  echo "the USB disk behind the router is not mounted: plug it in" >&2
  exit 3
fi

for repository in "$LOCAL" "$REMOTE"; do
  save "$repository"
  check "$repository"
done

date --iso-8601=seconds > "$STAMP"
