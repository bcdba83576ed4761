#!/bin/bash
# install [OPTION…] PEP508: Tandem into /opt/tandem, from the package index or a wheel's address, and the user of its services.
set -euo pipefail
UV=0.13.9

python3 -m venv /opt/uv
/opt/uv/bin/pip install --quiet --disable-pip-version-check "uv==$UV"
# The system's own Python where it is new enough (Ubuntu 24.04, Debian 12); an older image is given one.
export UV_PYTHON_INSTALL_DIR=/opt/python
/opt/uv/bin/uv venv --quiet --allow-existing --python ">=3.11,<3.14" /opt/tandem
/opt/uv/bin/uv pip install --quiet --python /opt/tandem "$@"

id tandem > /dev/null 2>&1 || useradd --system --user-group --home-dir /var/lib/tandem --shell /usr/sbin/nologin tandem
install -d -m 700 -o tandem -g tandem /var/lib/tandem
