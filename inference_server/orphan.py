"""vLLM's processes end with the worker that started them, also where it was killed: a core without its worker would
keep the GPU's memory, and the next worker could not start.

vLLM calls `end_with_parent` in each of its processes: it is an entry point of ours in `vllm.general_plugins`.
"""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.process import BaseProcess

_GRACE_S = 5.0


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), name="ends with the worker", daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)  # it ends its own processes first
    time.sleep(_GRACE_S)
    os._exit(1)
