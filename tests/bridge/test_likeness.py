"""Two questions ask the same, or one answer may not serve both."""

import pytest

from benchmarks.cache_pairs import pairs
from bridge.likeness import difference


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How long are snapshots kept?", "how long do we keep the snapshots"),
        ("What port does the server use?", "Which port is used by the server?"),
        ("What is the maximum size of an upload?", "What's the max upload size?"),
        ("In 2018, who won the tournament?", "Who won the tournament in 2018?"),
        ("Hi, could you tell me how to cancel my subscription? Thanks!", "How do I cancel my subscription?"),
        ("Why don't penguins fly?", "Why do penguins not fly?"),
        ("What side effects does the vaccine have?", "What are the vaccine's side effects?"),
        ("On which port does the server listen?", "which port does the server listen on"),
        ("Is three enough?", "is 3 enough"),
        ("Was kostet das Ticket?", "Was kostet das Ticket"),
    ],
)
def test_one_question_asked_in_two_ways_is_one_question(one: str, other: str) -> None:
    assert difference(one, other) is None
    assert difference(other, one) is None


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("How do I update version 3?", "How do I update version 4?", "differs in a number: 3 / 4"),
        ("Who may enter?", "Who may not enter?", "differs in a negation: nothing / not"),
        ("Is A larger than B?", "Is B larger than A?", "differs in the order of its words"),
        ('Where is "a b"?', 'Where is "a c"?', 'differs in what is quoted: "a b" / "a c"'),
        ("What does read_file do?", "What does read_line do?", "differs in a name: read_file / read_line"),
        ("How do I enable it?", "How do I disable it?", "differs in a word: enable / disable"),
        ("When was it built?", "Why was it built?", "asks something else: when / why"),
        ("When does it close?", "When did it close?", "asks of another time"),
    ],
)
def test_the_difference_is_told_in_words(one: str, other: str, reason: str) -> None:
    assert difference(one, other) == reason


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Dropped words, where they are not as empty as they look.
        ("Who called?", "Who did I call?"),
        ("When are we paid?", "When do we pay?"),
        ("Which rooms have windows?", "Which rooms are windows?"),
        ("What is his share of the profit?", "What is her share of the profit?"),
        ("Why doesn't every bird fly?", "Why does every bird not fly?"),
        ("When do I not have to pay?", "When must I not pay?"),
        ("How do I say please?", "How do I say thank you?"),
        ("Well depth in Texas?", "Depth in Texas?"),
        ("What is 5!?", "What is 5?"),
        ("What is the US share?", "What is the us share?"),
        ("What is the power of 5 mW?", "What is the power of 5 MW?"),
        ("Will the Apple store open?", "will the apple store open?"),
        ("Vio Ana a Luis", "Vio a Ana Luis"),
        # What belongs to what.
        ("Does the agent pay for the customer?", "Does the agent's customer pay?"),
        ("Does the agent pay for the customer?", "Does the customer's agent pay?"),
        ("Who is the new director of the company?", "Who is the director of the new company?"),
        ("How do I inform the director of the merger?", "How do I inform the merger's director?"),
        ("What is the letter for Anna?", "What is Anna's letter?"),
        ("Who are the children of Anna and Bob?", "Who are Anna's children and Bob?"),
        ("Can a fully paid bill be refunded?", "Can a paid bill be fully refunded?"),
        # Endings that make another word of it.
        ("Is the charging battery warm?", "Is the charged battery warm?"),
        ("How is the university funded?", "How is the universe funded?"),
        ("Who is the operator?", "What is the operation?"),
        ("What is the rate?", "What is the rat?"),
        ("What is the news?", "What is the new?"),
        ("Who approved it?", "Who approves it?"),
        # Who does it to whom.
        ("Which fish eat cats?", "Which fish do cats eat?"),
        ("Which fish do cats eat?", "Which cats do fish eat?"),
        ("Who is visited by Anna?", "Who is visiting Anna?"),
        ("Can I call you?", "Can you call me?"),
        ("Did he say not to pay?", "Did he not say to pay?"),
        ("Which doctors can recommend not smoking?", "Which doctors can not recommend smoking?"),
        ("When do dogs bite?", "When are dogs bitten?"),
    ],
)
def test_what_only_looks_alike_is_another_question(one: str, other: str) -> None:
    assert difference(one, other)
    assert difference(other, one)


def test_no_pair_of_the_benchmark_that_means_something_else_passes() -> None:
    passed = [(pair.first, pair.second) for pair in pairs.different() if difference(pair.first, pair.second) is None]
    assert passed == []


@pytest.mark.parametrize("text", ["", "?", "\x00", "\x00 9 \x00x", "of " * 3000, "please " * 90, "'" * 500, '"a', "in"])
def test_whatever_is_typed_is_compared(text: str) -> None:
    assert difference(text, text) is None
    assert difference(text, "How long are snapshots kept?")
    assert difference("what " + text[:500], "how " + text[:500]) or not text.strip()
