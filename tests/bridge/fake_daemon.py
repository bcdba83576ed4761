"""A daemon of the standard library alone, for the relay's own tests: python fake_daemon.py SOCKET FOLDER [DELAY_S]

It listens after DELAY_S, as one that loads a model does. Each start leaves its process id as a line in
FOLDER/starts. What a request's method asks for:

    initialize, pid   the process id        notes   every notification so far and how often the handshake was said
    progress          1, 2, 3 and the result
    die               ends at once          die once, progress once   end the first daemon only
    hold              no answer before      release, on the same connection or of an earlier daemon
    garbage           a line that is no JSON, then the result
"""

import json
import os
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any

SOCKET, FOLDER = sys.argv[1], Path(sys.argv[2])
DELAY_S = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
RELEASED = FOLDER / "released"
NOTES: list[str] = []


class Session(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        super().setup()
        self.released = threading.Event()
        self.writing = threading.Lock()

    def handle(self) -> None:
        for line in self.rfile:
            message = json.loads(line)
            if "id" in message and "method" in message:
                threading.Thread(target=self.answer, args=[message], daemon=True).start()
            else:
                NOTES.append(message.get("method", "response"))

    def answer(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params", {})
        result: Any = os.getpid()
        match method:
            case "initialize":
                NOTES.append(method)
            case "notes":
                result = NOTES
            case "garbage":
                self.write(b"Loading weights: 100%")
            case "hold":
                # The release may have been answered by a daemon that died of another request right after.
                if not RELEASED.exists():
                    self.released.wait()
            case "release":
                RELEASED.touch()
                self.released.set()
            case "die":
                os._exit(9)
            case "die once":
                self.end_first_daemon()
            case "progress" | "progress once":
                for progress in (1, 2, 3):
                    note = {"progressToken": params["_meta"]["progressToken"], "progress": progress}
                    self.say({"method": "notifications/progress", "params": note})
                if method == "progress once":
                    self.end_first_daemon()
            case "size":
                result = len(params["text"])
            case _:
                pass
        self.say({"id": message["id"], "result": result})

    def end_first_daemon(self) -> None:
        if len((FOLDER / "starts").read_text().split()) == 1:
            os._exit(9)

    def say(self, message: dict[str, Any]) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def write(self, line: bytes) -> None:
        with self.writing:
            self.wfile.write(line + b"\n")


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    with (FOLDER / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    time.sleep(DELAY_S)
    with Daemon(SOCKET + ".new", Session) as daemon:
        Path(SOCKET + ".new").rename(SOCKET)
        daemon.serve_forever()


main()
