import random

import pytest

from indexer.marking import likely, marks, wanted

ENGLISH = ("english",)


def marked(query: str, text: str, *languages: str) -> list[str]:
    spoken = languages or ("english",)
    return [text[start:end] for start, end in marks(text, wanted(query, spoken), spoken, likely(query))]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("cooling kilns", "The kiln cooled; a COOL kiln cools.", ["kiln", "cooled", "COOL", "kiln", "cools"]),
        ("the and of", "the kiln and the oven of it", []),
        ("user name", "getUserName(user_id)", ["UserName", "user"]),
        ("getUserName", "getUserName reads a user's name", ["getUserName", "user", "name"]),
        ("café", "Cafe\u0301 CAFE ＣＡＦÉ", ["Cafe\u0301", "CAFE", "ＣＡＦÉ"]),
        ("谷仓", "仓在谷里，谷仓在村里", ["谷仓"]),
        ("猫", "黒い猫がいる", ["猫"]),
        ("1,000 m", "1000 m or 1,000m", ["1000", "m", "1,000m"]),
        ("kiln", "👩‍👩‍👧 𠮷野 kiln", ["kiln"]),
        ("kiln", "", []),
        ("谷仓", "灯笼" * 40 + "谷仓", ["谷仓"]),
    ],
)
def test_what_the_index_finds_a_text_by_is_marked_in_it(query: str, text: str, expected: list[str]) -> None:
    assert marked(query, text) == expected


def test_every_language_of_the_index_marks_by_its_own_stems() -> None:
    assert marked("Verträge", "Der Vertrag und die Verträgen", "english", "german") == ["Vertrag", "Verträgen"]


def test_marks_are_in_order_and_apart() -> None:
    found = marks("谷仓谷仓 谷仓", wanted("谷仓", ("english",)), ("english",))
    assert found == ((0, 4), (5, 7))


def test_the_words_that_are_spared_the_look_would_not_have_been_marked() -> None:
    chance = random.Random(3)
    words = (
        "dying lied getUserName max_batch FY2019 HTTPServer covid19 1,234,567 1234567 running skies RNAs x_1".split()
    )
    words += "die lie run sky get user name batch server covid 2019 http rna under_score Dyed Lies ski".split()
    for _ in range(400):
        query, text = " ".join(chance.choices(words, k=3)), " ".join(chance.choices(words, k=30))
        terms = wanted(query, ENGLISH)
        assert marks(text, terms, ENGLISH, likely(query)) == marks(text, terms, ENGLISH), query
    text = "Müllers Mühle und Muller, müde"
    assert marks(text, wanted("muller", ENGLISH), ENGLISH, likely("muller")) == ((0, 7), (18, 24))
    assert marks("nothing of it", wanted("?", ENGLISH), ENGLISH, likely("?")) == ()
