"""A judge's job and its verdict (pure): which of a job's passages help, and which `statements` they bear out.

    verdict 3fa81c02      the mark of the job
    passage 1: yes
    passage 2: no
    statement 1: yes

A worker that knows no such task answers the question instead. The mark is in nothing that it then reads or shows its
model, so no words of it are a verdict, whatever questions and passages say.
"""

from dataclasses import dataclass
from hashlib import sha256

from wire.messages import Job

_RULINGS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of each passage whether it helps to answer, of each statement whether they support it; in the job's order."""

    helpful: tuple[bool, ...]
    supported: tuple[bool, ...]


def form(job: Job) -> list[str]:
    """The verdict's lines; all but the first want a `yes` or a `no` behind them."""
    mark = sha256(job.request_id.encode()).hexdigest()[:8]
    passages = [f"passage {n}:" for n in range(1, len(job.context) + 1)]
    statements = [f"statement {n}:" for n in range(1, len(job.metadata.statements) + 1)]
    return [f"verdict {mark}", *passages, *statements]


def verdict(job: Job, said: str) -> Verdict | None:
    """What a judge said; none where it is not the form, filled in to its end."""
    (mark, *asked), (first, *told) = form(job), said.strip().splitlines() or [""]
    if first.strip() != mark or len(told) != len(asked):
        return None
    rulings = [_ruling(start, line.strip()) for start, line in zip(asked, told, strict=True)]
    ruled = tuple(one for one in rulings if one is not None)
    many = len(job.context)
    return Verdict(ruled[:many], ruled[many:]) if len(ruled) == len(asked) else None


def _ruling(start: str, line: str) -> bool | None:
    return _RULINGS.get(line.removeprefix(start).strip().lower()) if line.startswith(start) else None
