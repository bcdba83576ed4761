"""Posts annotations to a Phoenix; a collector that is none is asked once."""

import logging
from collections import deque
from collections.abc import Iterable

import httpx

from observability.annotations import Annotation, bodies

logger = logging.getLogger("tandem.traces")

ROOM = 8_192  # annotations that wait at most; the oldest goes first, and `tandem trace eval` makes it again
_MANY = 1_024  # in one request at most
_NO_PHOENIX = frozenset({404, 405, 501})
_ITS_LOG = "its own log says why"


class Annotator:
    """Used by one thread, but for `add`. `is_phoenix`: until the collector says otherwise. `problem`: one sentence with
    its remedy while annotations do not get through, else None."""

    def __init__(self) -> None:
        self._waiting: deque[Annotation] = deque(maxlen=ROOM)
        self.is_phoenix = True
        self.problem: str | None = None

    def add(self, annotations: Iterable[Annotation]) -> None:
        self._waiting.extend(annotations)

    def post(self, client: httpx.Client, traces: httpx.URL) -> None:
        """`traces`: where spans go. What cannot be posted now waits for the next call."""
        while self._waiting and self.is_phoenix:
            some = [self._waiting.popleft() for _ in range(min(_MANY, len(self._waiting)))]
            problem, again = None, False
            for path, body in bodies(some).items():
                told, again = self._posted(client, traces, path, body)
                problem = problem or told
                if again:
                    break
            self.problem = problem
            if again:
                self._waiting.extendleft(reversed(some[: ROOM - len(self._waiting)]))
                return

    def _posted(self, client: httpx.Client, traces: httpx.URL, path: str, body: object) -> tuple[str | None, bool]:
        """What is wrong, and whether it is to be sent again. Sent twice is kept once."""
        url = traces.copy_with(path=traces.path.removesuffix("/v1/traces") + path)
        where = url.copy_with(userinfo=b"", query=None)
        try:
            answer = client.post(url, json=body, headers={"content-type": "application/json"})
        except httpx.HTTPError as error:
            return f"what is said of traces waits: {where} gave no answer ({type(error).__name__}); {_ITS_LOG}", True
        if answer.is_success:
            return None, False
        if answer.status_code in _NO_PHOENIX:
            self.is_phoenix = False
            self._waiting.clear()
            logger.info("%s is no Phoenix (%d): what is measured of the spans stays on them", where, answer.status_code)
            return None, False
        remedy = "set PHOENIX_API_KEY to a key that may write" if answer.status_code in (401, 403) else _ITS_LOG
        problem = f"what is said of traces does not get through: {where} answered {answer.status_code}; {remedy}"
        return problem, answer.status_code >= 500 or answer.status_code == 429
