"""Spans as Phoenix tells them become spans again."""

from observability.spans_back import gathered


def test_a_list_is_a_tuple_again_in_the_order_of_its_numbers() -> None:
    flat = {f"tandem.relevances.{n}": n / 10 for n in reversed(range(11))}
    assert gathered(flat | {"input.value": "why?"}) == {
        "input.value": "why?",
        "tandem.relevances": tuple(n / 10 for n in range(11)),
    }


def test_numbers_within_a_name_stay() -> None:
    document = {"retrieval.documents.0.document.content": "The lease.", "retrieval.documents.0.document.score": 0.5}
    assert gathered(document) == document
