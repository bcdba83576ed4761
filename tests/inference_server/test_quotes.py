"""The best sentences, word for word."""

import pytest

from inference_server.quotes import MAX_CHARS, Quote, quotes, sentences
from wire import Passage

SETUP = """# Set up

Install it first. Then run `make up`, e.g. on a Mac! Dr. Who says 3.5 hi.

- one item that
  goes on. It has two sentences.
1. three

| name | port |
|---|---|
| queue | 6379 |

```bash
# a comment
make up DOCS=path
```
HOST=127.0.0.1
PORT=8000
"""


def test_prose_is_cut_into_sentences_and_lists_tables_and_code_into_lines() -> None:
    assert sentences(SETUP) == [
        "Install it first.",
        "Then run `make up`, e.g. on a Mac!",
        "Dr. Who says 3.5 hi.",
        "- one item that\n  goes on.",
        "It has two sentences.",
        "1. three",
        "| name | port |",
        "| queue | 6379 |",
        "# a comment",
        "make up DOCS=path",
        "HOST=127.0.0.1",
        "PORT=8000",
    ]


@pytest.mark.parametrize(
    "text",
    [
        SETUP,
        "これは文です。次の文です！最後？",
        "No end",
        "a" * 5_000,
        "word " * 2_000,
        "One. Two\u2028Three. \x0bFour.\r\nFive! “Six.” Seven…",
        "```\nnever closed",
        "",
        "\n\n \t\n",
    ],
)
def test_every_sentence_is_an_exact_part_of_the_text_in_reading_order(text: str) -> None:
    position = 0
    for sentence in sentences(text):
        assert 0 < len(sentence) <= MAX_CHARS
        position = text.index(sentence, position) + len(sentence)


def test_the_sentence_that_shares_the_rarest_words_is_quoted_with_its_passage() -> None:
    passages = [
        Passage(text="The house has a garden. The house has a roof."),
        Passage(text="The house was built in 1843. It has windows."),
    ]
    assert quotes("When was the house built?", passages) == [Quote(2, "The house was built in 1843.")]


def test_words_match_in_all_their_forms() -> None:
    assert quotes("How do viruses infect?", [Passage(text="Cats sleep. The virus infects cells by fusion.")]) == [
        Quote(1, "The virus infects cells by fusion.")
    ]


def test_a_heading_answers_for_its_section() -> None:
    passage = Passage(text="Run `make up`, and wait.", heading="Guide > Installing")
    assert quotes("How do I install it?", [passage]) == [Quote(1, "Run `make up`, and wait.")]


def test_where_nothing_overlaps_nothing_is_quoted() -> None:
    for question in ("What does a whale eat?", "", "?!", "what is it"):
        assert quotes(question, [Passage(text="Install Redis first. Then start the worker.")]) == []
    assert quotes("Install Redis?", []) == []


def test_a_sentence_that_only_repeats_the_question_is_no_answer() -> None:
    passage = Passage(text="Installing Redis\n\nInstalling Redis takes a minute with apt.")
    assert quotes("Installing Redis?", [passage]) == [Quote(1, "Installing Redis takes a minute with apt.")]


def test_what_two_passages_both_say_is_quoted_once() -> None:
    passages = [Passage(text="The port is 6379 by default."), Passage(text="The port is 6379\nby default.")]
    assert quotes("Which port?", passages) == [Quote(1, "The port is 6379 by default.")]


def test_at_most_three_are_quoted_in_reading_order() -> None:
    passages = [Passage(text=" ".join(f"Port {n} is open on host{n}." for n in range(9))) for _ in range(2)]
    found = quotes("Which port is open?", passages)
    assert len(found) == 3
    assert [quote.text for quote in found] == sorted(quote.text for quote in found)


@pytest.mark.parametrize("mark", ["[2][3]", "[2, 3]", "[2-4]", "[ 2–4 ]", "【2】", "［2］", "[^2]"])
def test_reference_marks_of_a_passage_never_pass_for_ours(mark: str) -> None:
    found = quotes("When was the house built?", [Passage(text=f"The house was built in 1843 {mark}. Cats sleep [4].")])
    assert found == [Quote(1, "The house was built in 1843")]


def test_languages_without_spaces_are_searched_too() -> None:
    assert quotes("東京の人口は?", [Passage(text="猫は眠る。\n東京の人口は千四百万人です。")]) == [
        Quote(1, "東京の人口は千四百万人です。")
    ]


def test_passages_of_something_else_are_not_quoted_though_they_share_everyday_words() -> None:
    passages = [
        Passage(text="It takes long to find the best size. The average size of a team is seven.", score=0.9),
        Passage(text="Long roads need a large budget. The temperature of asphalt matters.", score=0.7),
    ]
    for question in (
        "How long does a large stuffed goose roast, and at which temperature?",
        "Which parrot has the longest average lifespan in captivity?",
    ):
        assert quotes(question, passages) == []
    assert quotes("What is the average size of a team?", passages) == [Quote(1, "The average size of a team is seven.")]


def test_between_sentences_that_fit_alike_the_passage_that_search_liked_decides() -> None:
    texts = ("The port of the queue is 6379.", "The port of the queue was 7000.")
    for scores in ((1.2, 0.2), (0.2, 1.2)):
        passages = [Passage(text=text, score=score) for text, score in zip(texts, scores, strict=True)]
        (best,) = quotes("Which port has the queue?", passages, limit=1)
        assert best.n == 1 + scores.index(1.2)


def test_between_sentences_that_fit_alike_the_one_beside_the_rest_of_the_question_wins() -> None:
    apart = "The fee is five euros. It rains a lot. Cats sleep all day. "
    beside = "The museum opens at nine. The fee is six euros. Visit the museum often. Cats like the museum."
    (best,) = quotes("What fee does the museum take?", [Passage(text=apart + beside)], limit=1)
    assert best.text == "The fee is six euros."
