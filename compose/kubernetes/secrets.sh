#!/bin/sh
# Makes the queue's secrets in a folder, the current one's `secrets` unless another is named: a certificate authority, the
# server's certificate, and a password for each role, of which the server is given the hash alone. README.md says how they
# come into the cluster. What is there stays as it is. Needs OpenSSL 3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
umask 077
mkdir -p "${1:-secrets}" && cd "${1:-secrets}"
[ ! -e users.acl ] || { echo "$PWD/users.acl is there already: nothing was made" >&2; exit 0; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 -subj "/CN=Tandem CA" \
  -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.crt 2>/dev/null
# As the pods call it, and the scaler from its own namespace; `127.0.0.1` is the probe.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 825 -subj "/CN=Tandem queue" \
  -CA ca.crt -CAkey ca.key -addext "basicConstraints=critical,CA:FALSE" -addext "extendedKeyUsage=serverAuth" \
  -addext "subjectAltName=DNS:redis,DNS:redis.tandem.svc,DNS:redis.tandem.svc.cluster.local,IP:127.0.0.1" \
  -keyout redis.key -out redis.crt 2>/dev/null

cp "$here/../redis.conf" redis.conf
{
  # Machines are not paired with this queue: its users are those of this file.
  grep -v '^user pair ' "$here/../users.acl"
  # KEDA: it may know how long the queue is, and nothing else.
  echo "user scaler on #SHA256_OF_scaler resetchannels -@all +ping +xlen ~inference_queue"
} > users.new
for user in admin bridge worker scaler; do
  openssl rand -hex 24 | tr -d '\n' > "$user.password"
  hash=$(openssl dgst -sha256 -r < "$user.password" | cut -d' ' -f1)
  sed "s/SHA256_OF_$user/$hash/" users.new > users.newer && mv users.newer users.new
done
openssl rand -hex 24 | tr -d '\n' > daemon.token
mv users.new users.acl
