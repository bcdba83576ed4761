# tokenizers takes keywords without types.
# pyright: reportUnknownMemberType=false

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase, Normalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from indexer.offsets import offsets

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PARTS = [
    *("heron", "Heron", "stands", "x", "42", "été", "e\u0301te\u0301", "naïve", "ẞ", "İ", "ﬁ", "①", "½", "한국어"),
    *("水鳥", "の", "ไทย", "مرحبا", "नमस्ते", "🦆", "👩‍🔬", "\u200b", "\u00ad", "\ufeff", "\u0301", "\ufffd", "�"),
    *(" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\u3000", "\u2028", "\x85", ".", ",", "'", '"', "_", "-", "/"),
    *("[", "]", "[UNK]", "[MASK]", "##s", "$", "^", "`", "|", "~", "+", "<", "=", "≠", "=\u0338", "…", "—", "。", "€"),
    *("\0", "\x01", "\x0b", "\x0c", "\x1c", "\x1f", "\x7f", "\x80", "\x9f", "a" * 101, "ab" * 30, "0x1f", "é" * 70),
]


@pytest.fixture(scope="module", params=[False, True], ids=["lower", "cased"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cased = bool(request.param)
    normalizer = BertNormalizer(lowercase=not cased, strip_accents=not cased)
    return saved(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json", normalizer)


def saved(path: Path, normalizer: Normalizer) -> Path:
    """A WordPiece tokenizer that knows the letters, a few words and pieces, and cuts and pads at 8 tokens."""
    words = ["[UNK]", "[PAD]", "[MASK]", "heron", "her", "##on", "##s", "stand", "ete", "été", "水", "の", "$", "."]
    vocabulary = dict.fromkeys([*words, *LETTERS, *LETTERS.upper(), *(f"##{letter}" for letter in LETTERS)])
    numbered = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(numbered, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["[UNK]", "[PAD]", "[MASK]"])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(path))
    return path


def own(file: Path, text: str) -> list[tuple[int, int]]:
    """What the tokenizer itself says."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer.encode(text, add_special_tokens=False).offsets


@pytest.mark.parametrize("seed", range(10))
def test_the_offsets_are_the_tokenizers_own_in_every_script(file: Path, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(60):
        text = "".join(dice.choices(PARTS, k=dice.randrange(1, 40)))
        assert offsets(str(file))(text) == own(file, text), ascii(text)


def test_every_character_next_to_a_word_leaves_it_where_it_was(file: Path) -> None:
    every = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 64):
        text = " ".join(f"heron{character}stands {character}" for character in every[start : start + 64])
        assert offsets(str(file))(text) == own(file, text), ascii(text)


def test_a_word_is_known_the_second_time_and_none_is_known_for_ever(file: Path) -> None:
    few = offsets(str(file), most_words=3)
    for text in ("one heron", "one heron two", "three herons stand", "one heron", "a" * 90, "a" * 90):
        assert few(text) == own(file, text)


def test_a_tokenizer_of_another_make_is_asked_for_the_whole_text(tmp_path: Path) -> None:
    file = saved(tmp_path / "tokenizer.json", Lowercase())  # pyright: ignore[reportArgumentType]
    text = "Heron\x01stands, \u00a0 été e\u0301te\u0301"
    assert offsets(str(file))(text) == own(file, text)
