"""cover@5: one of the first five passages, each of at most 1 200 characters, is from a judged file and holds at least
80 % of an answer's words."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from indexer.evaluate import Judged, Result

Answers = Mapping[str, Sequence[str]]


def load_answers(file: Path) -> Answers:
    """question id -> its answers, one as good as another; none where the collection has no such file."""
    if not file.exists():
        return {}
    return {row["id"]: row["answers"] for row in map(json.loads, file.read_text("utf-8").splitlines())}


def covered(judged: Judged, results: Mapping[str, Result], answers: Answers) -> list[bool]:
    """Of each question that has answers, in their order."""
    return [covers(texts, results[id_].passages[:5], judged.grades.get(id_, {})) for id_, texts in answers.items()]


def covers(texts: Sequence[str], passages: Sequence[tuple[str, str]], grades: Mapping[str, int]) -> bool:
    wanted = [Counter(words(text)) for text in texts if words(text)]
    held = [Counter(words(text)) for path, text in passages if grades.get(path, 0) > 0]
    return any((want & have).total() >= 0.8 * want.total() for want in wanted for have in held)


def words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in ("a", "an", "the")]
