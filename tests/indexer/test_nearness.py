import time

import numpy as np

from indexer import lexical
from indexer.nearness import STRETCH, WINDOW, Nearness, nearness

QUERY = "boiler pressure valve"


def near(text: str, query: str = QUERY, weights: dict[str, float] | None = None) -> Nearness:
    weighs = {
        int(lexical.terms(word)[0]): weight for word, weight in (weights or dict.fromkeys(QUERY.split(), 1.0)).items()
    }
    return nearness(lexical.asked(query), weighs, {7: lexical.terms(text)})[7]


def apart(words: int) -> str:
    return "lantern " * words


def test_words_that_stand_together_as_in_the_query_score_higher() -> None:
    together, near_by = near("the boiler pressure valve"), near("boiler lantern pressure lantern valve")
    anywhere = near("boiler" + " lantern" * 30 + " pressure" + " lantern" * 30 + " valve")
    assert together.pairs > near_by.pairs > anywhere.pairs == 0


def test_words_beyond_the_window_are_no_pair() -> None:
    assert near("boiler " + apart(WINDOW - 1) + "pressure").pairs > 0
    assert near("boiler " + apart(WINDOW) + "pressure").pairs == 0


def test_the_nearest_of_many_places_is_the_pair() -> None:
    spread = " ".join(f"boiler {apart(6 - n)} pressure {apart(9)}" for n in (1, 3, 0))
    assert near(spread).pairs == near("boiler " + apart(3) + "pressure").pairs
    assert near("pressure " + apart(9) + spread).pairs == near(spread).pairs


def test_words_that_stand_everywhere_take_time_in_proportion() -> None:
    began = time.process_time()
    near("boiler " * 5_000 + "pressure " * 5_000)
    assert time.process_time() - began < 0.5


def test_rare_words_side_by_side_say_more() -> None:
    weights = {"boiler": 1.0, "pressure": 5.0, "valve": 5.0}
    assert near("pressure valve", weights=weights).pairs > near("boiler pressure", weights=weights).pairs


def test_the_best_stretch_holds_its_share_of_the_query() -> None:
    assert near("boiler valve").stretch == near(apart(50) + "valve lantern boiler").stretch
    assert round(near("boiler valve").stretch, 6) == round(2 / 3, 6)
    assert near("boiler " + apart(STRETCH - 2) + "valve").stretch > near("boiler " + apart(STRETCH) + "valve").stretch
    assert near(QUERY).stretch == 1


def test_what_a_chunk_stands_under_is_near_to_all_of_it() -> None:
    words, weights = lexical.asked(QUERY), {int(term): 1.0 for term in lexical.terms(QUERY)}
    text = {n: lexical.terms(apart(50) + "valve " + apart(50)) for n in (1, 2)}
    near = nearness(words, weights, text, {1: lexical.terms("boiler pressure valve"), 2: lexical.terms("boiler")})
    assert (near[1].stretch, round(near[2].stretch, 6)) == (1, round(2 / 3, 6))


def test_a_word_is_found_in_each_of_its_forms() -> None:
    german = lexical.terms("Die Kündigungen der Mieter", "german")
    words = lexical.asked("Kündigung des Mieters", ["english", "german"])
    weights = {int(term): 1.0 for term in german}
    assert nearness(words, weights, {1: german})[1].stretch == 1
    assert nearness(words[:1], weights, {1: german})[1].stretch == 1


def test_a_query_of_unknown_words_is_near_to_nothing() -> None:
    assert near("boiler", "gasket") == Nearness()
    assert nearness([], {}, {1: np.array([], np.uint32)}) == {1: Nearness()}
    assert nearness(lexical.asked(QUERY), {}, {}) == {}
