import pytest

from indexer.dates import months


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("irc ops 2023-11-21.log", ["November"]),
        ("2023-01 minutes, 20240229.md, 2023_03_05", ["January", "February", "March"]),
        ("Protokoll 21.3.2023", ["March"]),
        ("2023-11-21 and 2023-11-22", ["November"]),
        ("version 2023.13, 19.99, 12023-11-21, 2023-1", []),
        ("3M_2018_10K", []),
        ("", []),
    ],
)
def test_a_date_in_numbers_has_a_month(text: str, names: list[str]) -> None:
    assert months(text, "english") == names


def test_a_month_has_its_name_in_the_documents_language_too() -> None:
    assert months("2023-03-05", "german") == ["March", "März"]
    assert months("2023-03-05", "finnish") == ["March"]
