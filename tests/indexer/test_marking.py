import pytest

from indexer.marking import marks, wanted


def marked(query: str, text: str, *languages: str) -> list[str]:
    spoken = languages or ("english",)
    return [text[start:end] for start, end in marks(text, wanted(query, spoken), spoken)]


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
