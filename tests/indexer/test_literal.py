import time

import pytest

from indexer import literal


@pytest.mark.parametrize(
    ("query", "phrases"),
    [
        ('who wrote "the kiln cools"', ("the kiln cools",)),
        ("“Die Laterne”  „hängt im“ «Hof»", ("die laterne", "hängt im", "hof")),
        ("「図書館は」", ("図書館は",)),
        ("max_batch_size", ("max_batch_size",)),
        ("QX-4471", ("qx-4471",)),
        ("the kiln cools", ()),
        ('a 5" pipe', ()),
        ('"a"', ()),
        ("", ()),
    ],
)
def test_what_is_quoted_or_stands_alone_is_meant_to_the_letter(query: str, phrases: tuple[str, ...]) -> None:
    assert literal.phrases(query) == phrases


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("answer.py", ("answer.py",)),
        ("what does bridge/answer.py do?", ("bridge/answer.py",)),
        ("open /home/ada/notes/kiln.md, please", ("/home/ada/notes/kiln.md",)),
        ("report_2019.pdf and report_2020.pdf", ("report_2019.pdf", "report_2020.pdf")),
        ("(see bridge/answer.py), or (answer.py)", ("bridge/answer.py", "answer.py")),
        ("app/(shop)/[id].tsx and [id].tsx", ("app/(shop)/[id].tsx", "[id].tsx")),
        ("v1.x/notes", ("v1.x/notes",)),
        ("version 2.5 of 10.1", ()),
        ("how long does the kiln cool? It is hot.", ()),
    ],
)
def test_names_of_files_are_recognised(query: str, names: tuple[str, ...]) -> None:
    assert literal.names(query) == names


def test_many_names_are_not_all_looked_for() -> None:
    assert literal.names(" ".join(f"{n}.py" for n in range(2_000)))[::7] == ("0.py", "7.py")


@pytest.mark.parametrize("sign", ["/", "../", "x", "/:", ".", "„", "»", "“", "「", '"'])
def test_odd_queries_take_time_in_proportion(sign: str) -> None:
    began = time.process_time()
    literal.names(sign * 3_000)
    literal.phrases(sign * 3_000)
    assert time.process_time() - began < 0.05


def test_a_phrase_is_found_over_line_breaks_in_any_case() -> None:
    assert literal.holds("The kiln\n  COOLS for twelve hours", ("kiln cools",))
    assert not literal.holds("The kiln then cools", ("kiln cools",))
    assert not literal.holds("The kiln cools", ("kiln cools", "twelve"))


@pytest.mark.parametrize(
    ("phrase", "text", "stands"),
    [
        ("art", "They start with a part of it", False),
        ("art", "They start with art", True),
        ("max_batch", "max_batch_size", False),
        ("qx-4471", "the QX-4471, and QX-44712", True),
        ("qx-4471", "the QX-44712", False),
        ("старт", "это не стартует", False),
        ("谷仓", "灯笼挂在谷仓里", True),
        ("학교", "어제 학교에서", True),
        ("(a)", "f(a)b", True),
    ],
)
def test_a_phrase_stands_as_words_of_its_own(phrase: str, text: str, stands: bool) -> None:
    assert literal.holds(text, (phrase,)) is stands


def test_a_name_is_whole_parts_of_a_path() -> None:
    assert literal.is_named("/docs/Bridge/Answer.py", "bridge/answer.py")
    assert literal.is_named("/docs/answer.py", "./answer.py")
    assert not literal.is_named("/docs/my_answer.py", "answer.py")
    assert not literal.is_named("/docs/answer.py", "./")
