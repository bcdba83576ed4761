import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bridge import tokens
from bridge.service import BadInput
from bridge.tokens import Token, Tokens
from indexer.filters import Reach


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def given(file: Path, name: str = "anna", **more: Any) -> str:
    secret, hashed = tokens.new_secret()
    tokens.add(file, Token(tokens.new_id(), name, time.time(), sha256=hashed, **more))
    return secret


def test_of_a_secret_only_its_hash_is_kept_and_the_file_is_its_users_alone(file: Path) -> None:
    secrets = [given(file, name) for name in ("anna", "bob")]
    assert len(set(secrets)) == 2 and all(len(secret) > 43 for secret in secrets)
    written = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert all(secret.removeprefix(tokens.PREFIX).encode() not in written for secret in secrets)
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}
    assert sorted(path.name for path in file.parent.iterdir()) == ["tokens.json", "tokens.lock"]


def test_who_looks_at_them_knows_at_once_what_another_added_or_revoked(file: Path) -> None:
    live = Tokens(file)
    assert not live.are_asked_for
    secret = given(file, folders=("/notes",), rate=7, asks=None)
    anna = live.of_secret(secret)
    assert anna and (anna.name, anna.reach, anna.rate, anna.asks) == ("anna", Reach(("/notes",)), 7, None)
    assert live.stands(anna)
    assert live.of_secret(secret + "x") is None and live.of_secret("") is None
    assert tokens.revoke(file, "anna") == 0
    assert live.of_secret(secret) is None and not live.stands(anna)
    again = live.of_secret(given(file))
    assert again and again.id != anna.id and not live.stands(anna)


def test_when_the_last_one_is_revoked_a_token_is_still_asked_for(file: Path) -> None:
    live = Tokens(file)
    given(file)
    tokens.revoke(file, "anna")
    assert live.are_asked_for and tokens.listed(file) == ()
    file.unlink()
    assert not live.are_asked_for


def test_one_that_has_expired_is_none(file: Path) -> None:
    live = Tokens(file)
    secret = given(file, expires=time.time() + 60)
    over = given(file, "bob", expires=time.time() - 1)
    assert live.of_secret(secret) and live.of_secret(over) is None


def test_a_subject_of_an_authorization_server_has_no_secret(file: Path) -> None:
    live = Tokens(file)
    tokens.add(file, Token("1", "anna", 0, subject="sub-1", folders=(), globs=()))
    anna = live.of_subject("sub-1")
    assert anna and anna.reach == Reach() and live.of_subject("sub-2") is None
    with pytest.raises(BadInput, match="'sub-1' has a token: 'anna'"):
        tokens.add(file, Token("2", "bob", 0, subject="sub-1"))


@pytest.mark.parametrize("name", ["", "a b", "a\n", "../x", "x" * 65, "\x1b[2J"])
def test_a_name_that_is_none_is_refused(file: Path, name: str) -> None:
    with pytest.raises(BadInput, match="expected a name"):
        given(file, name)
    assert not file.exists()


def test_a_name_is_given_once_and_an_unknown_one_cannot_be_revoked(file: Path) -> None:
    given(file)
    with pytest.raises(BadInput, match="there is a token 'anna'"):
        given(file)
    with pytest.raises(BadInput, match="there is no token 'bob'"):
        tokens.revoke(file, "bob")


def test_many_that_are_added_at_once_are_all_kept(file: Path) -> None:
    with ThreadPoolExecutor(20) as many:
        list(many.map(lambda n: given(file, f"n{n}"), range(40)))
    assert {one.name for one in tokens.listed(file)} == {f"n{n}" for n in range(40)}


@pytest.mark.parametrize("content", [b"", b"{", b'{"tokens": []}', b'{"key": "no", "tokens": []}', b"\xff"])
def test_a_file_that_is_damaged_lets_nobody_in_and_is_not_written_over(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    live = Tokens(file)
    secret = given(file)
    assert live.of_secret(secret)
    file.write_bytes(content)
    assert live.of_secret(secret) is None and live.are_asked_for
    assert "nobody comes in by a named token" in caplog.text
    with pytest.raises(tokens.Unreadable, match="was expected to hold tokens"):
        given(file, "bob")
    assert file.read_bytes() == content
