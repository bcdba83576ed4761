#!/bin/sh
# Makes what is missing in compose/secrets: the keys that local.yaml's services ask for, and what the laptop's own
# Tandem must be told of them. What is there stays as it is. Nothing is printed.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets

for name in qdrant_key phoenix_secret phoenix_key phoenix_password grafana_password tandem_token; do
  # Written beside and renamed: a key that is cut short would stay.
  [ -s "$name" ] || { openssl rand -hex 24 > "$name.new" && mv "$name.new" "$name"; }
done

# The daemon in a container reads this one, as its tandem.toml.
cat > tandem.toml.new <<EOF
tandem_token = "$(cat tandem_token)"
qdrant_api_key = "$(cat qdrant_key)"
phoenix_api_key = "$(cat phoenix_key)"
EOF
mv tandem.toml.new tandem.toml

# For one that runs natively: cp compose/secrets/laptop.env .env
cat > laptop.env.new <<EOF
TANDEM_EMBED=ollama
QDRANT_URL=http://127.0.0.1:${QDRANT_PORT:-6333}
QDRANT_API_KEY=$(cat qdrant_key)
OLLAMA_HOST=http://127.0.0.1:${OLLAMA_PORT:-11434}
PHOENIX_COLLECTOR_ENDPOINT=http://127.0.0.1:${PHOENIX_PORT:-6006}
PHOENIX_API_KEY=$(cat phoenix_key)
EOF
mv laptop.env.new laptop.env

# A container sees a file as it is here, and its user is another: the folder is what keeps the rest of this machine out.
chmod 644 qdrant_key phoenix_secret phoenix_key phoenix_password grafana_password tandem_token tandem.toml
