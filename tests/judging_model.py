"""A model server that answers as it is told, and fills in a judge's form where it is asked to judge."""

from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from tests.inference_server.test_openai import event, piece, stream

_FORM = "The form:\n"


def said(text: str) -> Response:
    return stream([event(piece(text)), event(piece(None, "stop"))])


def is_to_judge(asked: dict[str, Any]) -> bool:
    return _FORM in asked["messages"][-1]["content"]


def filled_in(asked: dict[str, Any], ruling: Callable[[str], str] = lambda _: "yes") -> str:
    """`ruling`: what stands behind a line such as `passage 1:`."""
    first, *lines = asked["messages"][-1]["content"].partition(_FORM)[2].splitlines()
    return "\n".join([first, *(f"{line} {ruling(line)}" for line in lines)])


def answering(text: str, ruling: Callable[[str], str] = lambda _: "yes") -> Callable[[dict[str, Any]], Response]:
    return lambda asked: said(filled_in(asked, ruling) if is_to_judge(asked) else text)
