import numpy as np

from indexer import lexical


def test_words_of_one_stem_are_one_term_and_stop_words_none() -> None:
    assert lexical.terms("The pumps").tolist() == lexical.terms("pump").tolist()
    assert lexical.terms("where is it").tolist() == []


def test_terms_keep_the_reading_order() -> None:
    a, b = lexical.terms("boiler")[0], lexical.terms("gasket")[0]
    assert lexical.terms("gasket, boiler; gasket").tolist() == [b, a, b]


def test_text_without_spaces_becomes_overlapping_pairs() -> None:
    assert len(lexical.terms("灯笼谷仓")) == 3
    assert set(lexical.terms("谷仓")) <= set(lexical.terms("灯笼挂在谷仓里"))


def test_packing_loses_nothing() -> None:
    terms = lexical.terms("a lantern hangs in the barn")
    assert lexical.unpack(lexical.pack(terms)).tolist() == terms.tolist()


def test_repetition_saturates_and_length_is_charged() -> None:
    def weight(text: str) -> float:
        sparse = lexical.document_vector(lexical.terms(text))
        return float(sparse.values[sparse.indices.tolist().index(int(lexical.terms("pump")[0]))])

    assert weight("pump") < weight("pump pump") < weight("pump " * 50) < lexical.K1 + 1
    assert weight("pump " + "gasket " * 400) < weight("pump")


def test_a_query_counts_each_word_once() -> None:
    sparse = lexical.query_vector(lexical.terms("pump pump gasket"))
    assert (len(sparse.indices), np.unique(sparse.values).tolist()) == (2, [1.0])
