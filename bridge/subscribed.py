"""What a relay's client has subscribed to, so that the next daemon hears of it (pure).

A subscription of a session (`resources/subscribe`) stands once it is answered, a stream (`subscriptions/listen`) once
it is acknowledged, and it is never answered while it lasts. Nobody knows what changed between two daemons, so the
client is then told that all of it may have.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # its import would cost each relay 4 ms of its start
    from collections.abc import Iterator
    from typing import Any

SUBSCRIBE, UNSUBSCRIBE, LISTEN = "resources/subscribe", "resources/unsubscribe", "subscriptions/listen"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_STREAM = "io.modelcontextprotocol/subscriptionId"
_AGAIN = "tandem-subscription-again "


class Subscribed:
    def __init__(self) -> None:
        self._asked: dict[str, dict[str, Any]] = {}  # by request
        self._standing: dict[str, dict[str, Any]] = {}  # streams by request, others by URI

    def ask(self, message: dict[str, Any]) -> None:
        if message.get("method") in (SUBSCRIBE, UNSUBSCRIBE, LISTEN):
            self._asked[key(message["id"])] = message

    def end(self, request_id: Any) -> None:
        """The client cancels a request."""
        self._asked.pop(key(request_id), None)
        self._standing.pop(key(request_id), None)

    def answer(self, message: dict[str, Any]) -> None:
        """The daemon's, to any request."""
        asked = self._asked.get(key(message.get("id")))
        self.end(message.get("id"))
        if asked and "error" not in message and asked["method"] != LISTEN:
            at = _place(asked)
            self._standing.pop(at, None)
            if asked["method"] == SUBSCRIBE:
                self._standing[at] = asked

    def acknowledge(self, request_id: Any) -> bool:
        """Whether the client knows that this stream stands."""
        asked = self._asked.pop(key(request_id), None)
        if asked:
            self._standing[key(request_id)] = asked
        return not asked and key(request_id) in self._standing

    def again(self) -> Iterator[dict[str, Any]]:
        """What the next daemon is asked: streams under the ids that the client knows them by."""
        for place, one in self._standing.items():
            yield one if one["method"] == LISTEN else {**one, "id": _AGAIN + place}

    def news(self, message: dict[str, Any]) -> list[dict[str, Any]] | None:
        """What the client is told once a daemon took a subscription over; none where it is something else."""
        if message.get("method") == ACKNOWLEDGED:
            stream = stream_of(message)
            return self._of_stream(stream) if self.acknowledge(stream) else None
        place = message.get("id")
        if not isinstance(place, str) or not place.startswith(_AGAIN):
            return None
        one = self._standing.get(place.removeprefix(_AGAIN))
        return [_said("resources/updated", {"uri": one["params"]["uri"]})] if one else []

    def _of_stream(self, stream: Any) -> list[dict[str, Any]]:
        wanted: dict[str, Any] = self._standing[key(stream)]["params"]["notifications"]
        meta = {"_meta": {_STREAM: stream}}
        uris: list[str] = wanted.get("resourceSubscriptions") or []
        listing = [_said("resources/list_changed", meta)] if wanted.get("resourcesListChanged") else []
        return [*(_said("resources/updated", {"uri": uri, **meta}) for uri in uris), *listing]


def stream_of(acknowledged: dict[str, Any]) -> Any:
    return acknowledged.get("params", {}).get("_meta", {}).get(_STREAM)


def key(request_id: Any) -> str:
    """1 and "1" are two requests."""
    return f"{type(request_id).__name__} {request_id}"


def _place(asked: dict[str, Any]) -> str:
    return f"uri {asked['params']['uri']}"


def _said(what: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": f"notifications/{what}", "params": params}
