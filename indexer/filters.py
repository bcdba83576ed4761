"""Which documents a search looks at."""

import re
from collections.abc import Sequence

import anyio.to_thread
from pathspec import GitIgnoreSpec

from indexer.catalog import Catalog


class BadGlob(Exception):
    """`in` is no pattern; the message says what was expected."""


async def ids_within(catalog: Catalog, within: str) -> list[int]:
    """The documents whose path matches a pattern as in .gitignore: absolute, or relative to its root or to the folder
    that the root lies in. Raises BadGlob."""
    try:
        spec = GitIgnoreSpec.from_lines([within.removeprefix("./")])
    except (ValueError, re.error) as error:
        raise BadGlob(
            f"`in` was expected to be a pattern as in .gitignore, e.g. '*.md' or docs/; got {within!r}"
        ) from error
    roots = sorted((root.rstrip("/") for root in catalog.roots()), key=len, reverse=True)

    def matching() -> list[int]:
        return [id_ for id_, path in catalog.paths() if _matches(spec, path, roots)]

    # 20 000 paths take a third of a second: not on the loop.
    return await anyio.to_thread.run_sync(matching)


def _matches(spec: GitIgnoreSpec, path: str, roots: Sequence[str]) -> bool:
    root = next((root for root in roots if path.startswith(root + "/")), "")
    starts = {0, len(root), root.rfind("/")} - {-1}
    return any(spec.match_file(path[start + 1 :]) for start in starts)
