"""What judges the fuzz test notices each thing that it is there for."""

from pathlib import Path

import pytest

from tests.fuzzing.ground import laid
from tests.fuzzing.verdict import Verdict

PING = b'{"jsonrpc": "2.0", "id": "a", "method": "ping"}'
PONG = b'{"jsonrpc":"2.0","id":"a","result":{}}'
CANCELLED = b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}}'


def judged(folder: Path, said: list[bytes], heard: list[bytes]) -> Verdict:
    verdict = Verdict(laid(folder))
    for line in said:
        verdict.said(line)
    for line in heard:
        verdict.heard(line)
    verdict.ended()
    return verdict


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ([PING], [PONG]),
        ([PING, PING], [PONG, PONG]),
        ([PING, CANCELLED], []),
        ([PING, CANCELLED], [PONG]),
        ([b"garbage"], [b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"expected JSON"}}']),
        ([b"garbage"], []),
        ([PING], [PONG, b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}']),
    ],
)
def test_what_is_right_is_no_problem(tmp_path: Path, said: list[bytes], heard: list[bytes]) -> None:
    assert judged(tmp_path, said, heard).problems == []


@pytest.mark.parametrize(
    ("heard", "kind"),
    [
        ([], "unanswered"),
        ([PONG, PONG], "answers too many"),
        ([PONG, b'{"jsonrpc":"2.0","id":1,"result":{}}'], "answers too many"),
        ([PONG, b"INFO: started"], "no JSON-RPC"),
        ([PONG, b"[]"], "no JSON-RPC"),
        ([PONG, b""], "no JSON-RPC"),
        ([b'{"jsonrpc":"2.0","id":"a","result":{"n":NaN}}', PONG], "no JSON-RPC"),
        ([b'{"jsonrpc":"2.0","id":"a","id":"a","result":{}}', PONG], "no JSON-RPC"),
        ([b'{"jsonrpc":"2.0","id":"a","result":{"a":"\xff"}}', PONG], "no JSON-RPC"),
        ([b'{"jsonrpc":"2.0","id":"a","error":{"code":0,"message":"Internal server error"}}'], "unexplained"),
        ([b'{"jsonrpc":"2.0","id":"a","error":{"code":0,"message":"KeyError(\'x\')"}}'], "unexplained"),
        (
            [b'{"jsonrpc":"2.0","id":"a","result":{"isError":true,"content":[{"text":"Error executing tool read"}]}}'],
            "unexplained",
        ),
    ],
)
def test_what_is_wrong_is_one(tmp_path: Path, heard: list[bytes], kind: str) -> None:
    verdict = judged(tmp_path, [PING], heard)
    assert [problem.partition(":")[0] for problem in verdict.problems] == [kind]
    assert verdict.counts[kind] == 1


def test_a_letter_of_a_file_that_nobody_may_read_is_an_escape(tmp_path: Path) -> None:
    verdict = Verdict(laid(tmp_path))
    secret = (tmp_path / "outside" / "secret.md").read_text().split()[3]
    for canary in (secret, verdict.ground.settings["TANDEM_TOKEN"]):
        verdict.heard(b'{"jsonrpc":"2.0","method":"notifications/x","params":{"said":"%b"}}' % canary.encode())
    assert verdict.counts["escapes"] == 2
