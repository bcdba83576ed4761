"""What a host starts: `tandem mcp`, with the folders that its user has chosen as words."""

import os
import sys

from bridge.cli import main


def is_chosen(word: str) -> bool:
    """A host leaves the name of what was not chosen as it is."""
    return bool(word.strip()) and not word.startswith("${")


if not is_chosen(os.environ.get("TANDEM_DATA", "")):
    os.environ.pop("TANDEM_DATA", None)
folders = [word for folder in filter(is_chosen, sys.argv[1:]) for word in ("--watch", folder)]
sys.argv = ["tandem", "mcp", *folders]
main()
