"""Runs Phoenix as a child that cannot outlive its parent; started by path, with the Python that has Phoenix.

It needs nothing but the standard library, for that Python need not have Tandem. Standard input is the leash:
it ends when the parent ends, however that ends, on every system.
"""

import os
import runpy
import signal
import sys
import threading
from importlib import import_module, metadata
from typing import Any

NOT_INSTALLED = 64
LAST_WORDS_S = 5.0


def main() -> None:
    # This file's folder has a phoenix.py too, which is not the one meant.
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != os.path.dirname(__file__)]  # noqa: PTH120
    try:
        metadata.version("arize-phoenix")
    except metadata.PackageNotFoundError:
        sys.exit(NOT_INSTALLED)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _keep_grpc_at_home()
    sys.argv = ["phoenix", "serve"]
    runpy.run_module("phoenix.server.main", run_name="__main__", alter_sys=True)


def _end_with_the_parent() -> None:
    while os.read(0, 1):
        pass
    timer = threading.Timer(LAST_WORDS_S, os._exit, (1,))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)


def _keep_grpc_at_home() -> None:
    """Phoenix listens for gRPC on every interface and has no setting for it; the parent checks what came of this."""
    aio: Any = import_module("grpc.aio")
    make = aio.server

    def server(*args: object, **kwargs: object) -> object:
        made = make(*args, **kwargs)
        listen = made.add_insecure_port

        def listen_at_home(where: str) -> object:
            return listen(where.replace("[::]:", "127.0.0.1:"))

        made.add_insecure_port = listen_at_home
        return made

    aio.server = server


if __name__ == "__main__":
    main()
