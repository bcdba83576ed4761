"""What may be kept to be given again, and whether it still stands (pure). `cache` tells why these rules are safe."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.cache_rows import Entry, Evidence, digest
from bridge.service import Answer
from indexer.hits import Hit

_CLOCKS_S = 10  # a file is recorded a moment before it can be found
_UNANSWERED = "documents do not say"


def why_not(answer: Answer, hits: Sequence[Hit]) -> str | None:
    """Why an answer is not to be kept."""
    if answer.error:
        return "it ended with an error"
    if answer.degraded:
        return "something was missing when it was made"
    if answer.cache_hit:
        return "it is one that was kept"
    if answer.grounded is False:
        return "it is not grounded"
    if not answer.citations or _UNANSWERED in answer.answer.lower():
        return "it does not say anything that it can show"
    if any(not 0 < one.n <= len(hits) or hits[one.n - 1].path != one.path for one in answer.citations):
        return "it cites what was not found"
    return None


def moved_on(entry: Entry, hits: Sequence[Hit], recorded: Mapping[str, tuple[str, float]]) -> str | None:
    """Why what is found now is no longer what the entry rests on."""
    for one in entry.evidence:
        if one.cited and not any(_stands(one, hit) for hit in hits):
            where = f"{Path(one.path).name}:{one.start_line or one.page or 0}"
            found = any(hit.path == one.path and hit.sha256 != one.sha256 for hit in hits)
            return f"its passage {where} was changed" if found else f"its passage {where} is not found now"
    seen = {(one.path, one.digest) for one in entry.evidence}
    for hit in hits:
        if (hit.path, digest(hit)) in seen:
            continue
        if hit.path not in recorded or recorded[hit.path][1] > entry.asked_at - _CLOCKS_S:
            return f"{Path(hit.path).name} is newer than the answer"
    if hits[0].path not in {one.path for one in entry.evidence}:
        return "the best passage is another one now"
    return None


def _stands(kept: Evidence, hit: Hit) -> bool:
    if kept.path != hit.path:
        return False
    if kept.digest == digest(hit):
        return True
    if not kept.sha256 or kept.sha256 != hit.sha256 or kept.page != hit.page:
        return False
    if kept.start_line is None or kept.end_line is None or hit.start_line is None or hit.end_line is None:
        return False
    return hit.start_line <= kept.start_line and kept.end_line <= hit.end_line
