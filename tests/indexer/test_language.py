import hashlib

import pytest

from indexer.language import language_of


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("english", "The lantern hangs in the barn, and it is lit by the keeper of the yard when he comes home."),
        (
            "german",
            "Die Laterne hängt in der Scheune, und der Wärter zündet sie an, wenn er am Abend nach Hause kommt.",
        ),
        ("french", "La lanterne est dans la grange, et le gardien l'allume quand il rentre le soir avec les bêtes."),
        ("spanish", "El farol está en el granero y el guarda lo enciende cuando vuelve a la casa por la noche."),
        ("italian", "La lanterna è nel fienile e il guardiano la accende quando la sera torna a casa con i cavalli."),
        ("portuguese", "A lanterna está no celeiro e o guarda acende-a quando volta para a casa com os cavalos."),
        ("dutch", "De lantaarn hangt in de schuur en de wachter steekt hem aan als hij met de paarden naar huis komt."),
        ("swedish", "Lyktan hänger i ladan och vakten tänder den när han kommer hem på kvällen med hästarna."),
        ("russian", "Фонарь висит в сарае, и сторож зажигает его, когда он возвращается домой с лошадьми."),
        ("turkish", "Fener ahırda asılı ve bekçi onu akşam eve gelince yakar, bu da çok güzel bir şey için."),
    ],
)
def test_prose_is_known_by_its_small_words(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text", ["", "4711", "x = [f(a) for a in b]", "Müller GmbH, Köln", "灯笼挂在谷仓里", "\0" * 50]
)
def test_what_is_no_prose_counts_as_english(text: str) -> None:
    assert language_of(text) == "english"


def test_a_list_of_checksums_is_in_no_language_of_its_own() -> None:
    sums = (hashlib.sha256(str(n).encode()).hexdigest() for n in range(100))
    assert language_of("\n".join(f"{one}  part{n}.bin" for n, one in enumerate(sums))) == "english"
