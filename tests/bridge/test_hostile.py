"""200 hostile texts as passage, quote, path, heading and answer: what a model or a terminal gets to see of them."""

import io
import re

import pytest
from rich.console import Console

from bridge.citing import answer_text, found_text
from bridge.service import Answer, Citation
from bridge.shown import show_found, show_sources
from indexer.hits import Found, Freshness, Hit
from tests.hostile import HOSTILE

FRESHNESS = Freshness("2026-11-03T17:02:11+00:00", 0)
HONEST = Hit("/d/kiln.md", "file:///d/kiln.md", 0.5, "The kiln cools.", 1, 1)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Colours, and links to files.
HARMLESS = re.compile(r"\x1b\[[\d;]*m|\x1b\]8;[^;]*;(?:file:///[\x21-\x7e]*)?\x1b\\")


def hit(text: str) -> Hit:
    return Hit(f"/d/{text}.md", "file:///d/x.md", 0.9, text, 3, 9, None, f"Guide > {text}")


def answer(text: str, said: str = "The kiln cools [1].") -> Answer:
    cited = Citation(1, f"/d/{text}.md", "file:///d/x.md", text, text, 3, 9, passage=text)
    return Answer(said, (cited,), FRESHNESS, "extractive", grounded=True)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_of_a_file_stands_as_ours_before_a_model(text: str) -> None:
    ours = found_text(Found((hit("calm"), HONEST), FRESHNESS))
    theirs = found_text(Found((hit(text), HONEST), FRESHNESS))
    assert not CONTROLS.search(theirs)
    # But for the lines of the file and the one that names it, every line is one that is there without it.
    said = [line for line in theirs.split("\n") if not line.startswith(("> ", "[1] /d/"))]
    assert said == [line for line in ours.split("\n") if not line.startswith(("> ", "[1] /d/"))]
    assert sum(line.startswith("[1] /d/") for line in theirs.split("\n")) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_no_quote_of_a_file_stands_as_ours_in_an_answer(text: str) -> None:
    theirs = answer_text(answer(text))
    assert not CONTROLS.search(theirs)
    said = [line for line in theirs.split("\n") if not line.startswith(("> ", "[1] /d/"))]
    assert said == [line for line in answer_text(answer("calm")).split("\n") if not line.startswith(("> ", "[1] /d/"))]
    assert not CONTROLS.search(answer_text(answer("calm", said=text)))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_file_steers_the_terminal(text: str) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system="truecolor", width=100)
    show_found(console, Found((hit(text), HONEST), FRESHNESS, (text,)))
    show_sources(console, answer(text))
    left = HARMLESS.sub("", shown.getvalue())
    assert "\x1b" not in left
    assert not CONTROLS.search(left)
