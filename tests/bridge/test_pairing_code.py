import hashlib
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest

from bridge import pairing_code
from bridge.pairing_code import Code, WrongCode

CODE = Code("bridge", "0a1b2c", "the-secret", "inference_queue", 6379, ("10.0.0.2", "box.example"), b"\x30\x82" * 180)


def test_a_code_is_one_word_that_says_all_of_it_however_a_terminal_has_broken_it() -> None:
    word = pairing_code.write(CODE)
    assert word == "".join(word.split()) and word.isascii()
    lines = "\n".join(word[at : at + 72] for at in range(0, len(word), 72))
    assert pairing_code.read(f"  {lines} \r\n") == CODE


def test_a_code_that_is_cut_or_has_a_wrong_letter_is_told_from_a_whole_one() -> None:
    word = pairing_code.write(CODE)
    begun = len(pairing_code.PREFIX)
    wrong = [word[:at] for at in range(begun, len(word))]
    # The last letter has bits that mean nothing.
    wrong += [word[:at] + ("A" if word[at] != "A" else "B") + word[at + 1 :] for at in range(begun, len(word) - 1)]
    for other in (*wrong, word + word, word.upper()):
        with pytest.raises(WrongCode):
            pairing_code.read(other)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("", "got nothing"),
        ("tandem_0123456789", "begins otherwise"),
        ("tandempair9_AAAA", "another version"),
        (pairing_code.PREFIX, "cut or mistyped"),
        (pairing_code.PREFIX + "ä", "cut or mistyped"),
        (pairing_code.write(CODE)[:-9], "copy the whole of it"),
    ],
)
def test_what_is_no_code_is_told_in_words_that_quote_nothing_of_it(word: str, told: str) -> None:
    with pytest.raises(WrongCode, match=told) as error:
        pairing_code.read(word)
    assert "0123" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"addresses": ("box.example:6379",)},
        {"addresses": ("box/?ssl_cert_reqs=none&x=",)},
        {"addresses": ("fe80::1%eth0",)},
        {"addresses": ()},
        {"addresses": ("10.0.0.2",) * 33},
        {"port": 0},
        {"port": 65_536},
        {"id": "x y@z"},
        {"secret": ""},
        {"stream_key": "a\nb"},
        {"ca": b"0" * 20_000},
    ],
)
def test_a_code_whose_parts_cannot_be_what_they_say_is_refused_before_anybody_is_called(wrong: dict[str, Any]) -> None:
    fields = {name: getattr(CODE, name) for name in CODE.__struct_fields__} | wrong
    body = msgspec.msgpack.encode(list(fields.values()))
    word = pairing_code.PREFIX + urlsafe_b64encode(hashlib.sha256(body).digest()[:6] + body).decode().rstrip("=")
    with pytest.raises(WrongCode, match="make a new one"):
        pairing_code.read(word)


def test_a_code_that_is_shown_by_mistake_shows_no_secret() -> None:
    assert "the-secret" not in f"{CODE!r} {CODE}"
